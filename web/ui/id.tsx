import { Group } from "@mantine/core";
import { Copy } from "./copy";
import { Exact } from "./exact";

const HEAD_CHARS = 9;
const TAIL_CHARS = 6;

/** An identifier or a hash: monospace, shortened in the middle, whole on hover, one click to copy. */
export function Id({ value }: { value: string }) {
  return (
    <Group gap={4} wrap="nowrap" display="inline-flex">
      <Exact short={shortened(value)} exact={value} monospace />
      <Copy text={value} what={shortened(value)} />
    </Group>
  );
}

/** The beginning and the end of it. */
export function shortened(value: string): string {
  if (value.length <= HEAD_CHARS + TAIL_CHARS + 1) return value;
  return `${value.slice(0, HEAD_CHARS)}…${value.slice(-TAIL_CHARS)}`;
}
