import { Paper, Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";

/** Nothing yet: what would be here, and the one button that makes the first. */
export function EmptyState({ title, text, action }: { title: string; text: string; action?: ReactNode }) {
  return (
    <Paper withBorder p="xl">
      <Stack gap={12} align="center" ta="center">
        <Title order={2}>{title}</Title>
        <Text c="dimmed" maw={480}>
          {text}
        </Text>
        {action}
      </Stack>
    </Paper>
  );
}
