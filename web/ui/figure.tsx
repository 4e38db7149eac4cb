import { Paper, Text } from "@mantine/core";
import type { ReactNode } from "react";

/** One number that answers a question, with its name and what it means. */
export function Figure({ name, text, children }: { name: string; text?: string; children: ReactNode }) {
  return (
    <Paper withBorder p="md" component="section" aria-label={name}>
      <Text c="dimmed">{name}</Text>
      <Text fz="xl" lh="xl" fw={600}>
        {children}
      </Text>
      {text !== undefined && (
        <Text c="dimmed" fz="xs">
          {text}
        </Text>
      )}
    </Paper>
  );
}
