import { Paper, Text } from "@mantine/core";
import type { ReactNode } from "react";

interface FigureProps {
  name: string;
  className?: string;
  text?: ReactNode;
  /** For several in a row. */
  compact?: boolean;
  children: ReactNode;
}

/** One number that answers a question, with its name and what it means. */
export function Figure({ name, text, className, compact = false, children }: FigureProps) {
  return (
    <Paper withBorder p={compact ? "sm" : "md"} component="section" aria-label={name} className={className}>
      <Text c="dimmed">{name}</Text>
      <Text fz={compact ? "lg" : "xl"} lh={compact ? "lg" : "xl"} fw={600}>
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
