import { Box, Group, Stack, Text, Tooltip } from "@mantine/core";

/** A stretch of time with its name. */
export interface Span {
  name: string;
  ms: number;
  color: string;
}

/** Where the time went: one bar, and each span's name and length below it. */
export function Timeline({ spans, label }: { spans: Span[]; label: string }) {
  return (
    <Stack gap={8}>
      <Group gap={2} wrap="nowrap" role="img" aria-label={`${label}: ${spans.map(named).join(", ")}`}>
        {spans.map((span) => (
          <Tooltip key={span.name} label={named(span)}>
            <Box h={16} miw={4} bg={span.color} style={{ flexGrow: Math.max(span.ms, 1), borderRadius: 4 }} />
          </Tooltip>
        ))}
      </Group>
      <Group gap="4px 16px">
        {spans.map((span) => (
          <Group key={span.name} gap={8}>
            <Box w={8} h={8} bg={span.color} style={{ borderRadius: 4 }} aria-hidden="true" />
            <Text c="dimmed">{span.name}</Text>
            <Text>{span.ms} ms</Text>
          </Group>
        ))}
      </Group>
    </Stack>
  );
}

function named({ name, ms }: Span): string {
  return `${name} ${ms} ms`;
}
