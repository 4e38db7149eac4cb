import { Button, Code, CopyButton, Stack } from "@mantine/core";
import { useI18n } from "../src/i18n";

/** A secret that is shown once, whole, with a button that copies it. */
export function Secret({ text, label }: { text: string; label: string }) {
  const { t } = useI18n();
  return (
    <Stack gap={8}>
      <Code block aria-label={label} style={{ overflowWrap: "anywhere", whiteSpace: "pre-wrap" }}>
        {text}
      </Code>
      <CopyButton value={text}>
        {({ copied, copy }) => (
          <Button variant="default" onClick={copy}>
            {copied ? t.copied : t.copy}
          </Button>
        )}
      </CopyButton>
    </Stack>
  );
}
