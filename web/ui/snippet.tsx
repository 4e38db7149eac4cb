import { Code, Group, Paper, SegmentedControl, Stack, Text, Title } from "@mantine/core";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { Copy } from "./copy";

/** Where links to the snippet lead. */
const ANCHOR = "code";

interface SnippetProps<Dialect extends string> {
  title: string;
  text: string;
  dialects: readonly Dialect[];
  code: (dialect: Dialect) => string;
  /** What is missing from the code, and the button that mends it. */
  action?: ReactNode;
}

/** The same request in several languages, one at a time, to be copied. */
export function Snippet<Dialect extends string>({ title, text, dialects, code, action }: SnippetProps<Dialect>) {
  const [dialect, setDialect] = useState<Dialect | undefined>(dialects[0]);
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (window.location.hash === `#${ANCHOR}`) place.current?.scrollIntoView();
  }, []);
  if (dialect === undefined) return null;
  const shown = code(dialect);
  return (
    <Paper withBorder p="md" id={ANCHOR} ref={place} component="section" aria-label={title}>
      <Stack gap={12}>
        <Group justify="space-between">
          <div>
            <Title order={2}>{title}</Title>
            <Text c="dimmed">{text}</Text>
          </div>
          <Group gap={8} wrap="nowrap">
            <SegmentedControl size="xs" aria-label={title} data={[...dialects]} value={dialect} onChange={setDialect} />
            <Copy text={shown} what={dialect} />
          </Group>
        </Group>
        <Code block style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
          {shown}
        </Code>
        {action}
      </Stack>
    </Paper>
  );
}
