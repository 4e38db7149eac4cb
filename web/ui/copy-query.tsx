import { ActionIcon, Menu } from "@mantine/core";
import { useClipboard } from "@mantine/hooks";
import { type DocumentInput, stringifyDocument } from "urql";
import { curl } from "../src/curl";
import { useI18n } from "../src/i18n";
import { Icon } from "./icon";

/** What a screen asked the API. */
export interface Query {
  document: Exclude<DocumentInput, string>;
  variables: Record<string, unknown>;
}

/** Copies the question that made this screen, so that a program can ask the same. */
export function CopyQuery({ document, variables }: Query) {
  const { t } = useI18n();
  const clipboard = useClipboard();
  const query = stringifyDocument(document);
  const asked = Object.keys(variables).length === 0 ? query : `# ${JSON.stringify(variables)}\n${query}`;
  const asCurl = () => curl(`${window.location.origin}/graphql`, { query, variables }, undefined);
  const label = clipboard.copied ? t.copied : t.copyQuery.title;
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" className="no-print" aria-label={label} title={label}>
          <Icon name={clipboard.copied ? "check" : "code"} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item onClick={() => clipboard.copy(asked)}>{t.copyQuery.graphql}</Menu.Item>
        <Menu.Item onClick={() => clipboard.copy(asCurl())}>{t.copyQuery.curl}</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
