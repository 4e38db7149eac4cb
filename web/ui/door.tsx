import { Box, Group, Paper, Stack, Text, Title } from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import { useI18n } from "../src/i18n";
import { Brand } from "./shell";
import { LanguageSwitch, ThemeSwitch } from "./switches";

/** The frame of the screens that come before a session. */
export function Door({ title, children }: { title: string; children: ReactNode }) {
  const { t } = useI18n();
  useEffect(() => {
    document.title = `${title} · ${t.product}`;
  }, [title, t.product]);
  return (
    <Box mih="100dvh" p="md">
      <Group component="header" justify="space-between">
        <Brand />
        <Group gap={4}>
          <LanguageSwitch />
          <ThemeSwitch />
        </Group>
      </Group>
      <Box component="main" maw={400} mx="auto" pt={{ base: 32, sm: 96 }}>
        <Stack gap="lg">
          <div>
            <Title order={1}>{title}</Title>
            <Text c="dimmed">{t.claim}</Text>
          </div>
          <Paper withBorder p="lg">
            {children}
          </Paper>
        </Stack>
      </Box>
    </Box>
  );
}
