import { Code, Group, Stack, Text, Title } from "@mantine/core";
import { useI18n } from "../src/i18n";
import { Copy } from "./copy";
import { Id } from "./id";

const COMMAND = "tokengrid ledger verify";

/** How anybody with the database can prove that a block stands as it was written. */
export function Verify({ height, hash }: { height: string; hash: string }) {
  const { t } = useI18n();
  return (
    <Stack gap={8} component="section" aria-label={t.verify.title} maw={720}>
      <Title order={2}>{t.verify.title}</Title>
      <Text>{t.verify.text}</Text>
      <Group gap={4}>
        <Code>{COMMAND}</Code>
        <Copy text={COMMAND} what={COMMAND} />
      </Group>
      <Group gap={8}>
        <Text>{t.verify.block(height)}</Text>
        <Id value={hash} />
      </Group>
      <Text c="dimmed">{t.verify.covers}</Text>
    </Stack>
  );
}
