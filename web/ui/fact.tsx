import { Text } from "@mantine/core";
import type { ReactNode } from "react";

/** A small truth with its name. */
export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <Text c="dimmed" fz="xs">
        {name}
      </Text>
      <Text component="div">{children}</Text>
    </div>
  );
}
