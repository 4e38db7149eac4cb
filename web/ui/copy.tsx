import { ActionIcon, CopyButton, Tooltip } from "@mantine/core";
import { useI18n } from "../src/i18n";
import { Icon } from "./icon";

/** A small button that copies a text and says so. */
export function Copy({ text, what }: { text: string; what?: string }) {
  const { t } = useI18n();
  const label = what === undefined ? t.copy : t.copyOf(what);
  return (
    <CopyButton value={text} timeout={1500}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? t.copied : label}>
          <ActionIcon variant="subtle" color="gray" size="sm" onClick={copy} aria-label={copied ? t.copied : label}>
            <Icon name={copied ? "check" : "copy"} size={14} />
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
}
