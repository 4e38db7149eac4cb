import { Group, Skeleton, Stack, Text, Title } from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import { useI18n } from "../src/i18n";
import { CopyQuery, type Query } from "./copy-query";

interface PageProps {
  title: string;
  text?: string;
  actions?: ReactNode;
  /** What the screen asked the API, to be copied. */
  query?: Query;
  children: ReactNode;
}

/** A screen: its title, what it is for, what can be done, and its content. */
export function Page({ title, text, actions, query, children }: PageProps) {
  const { t } = useI18n();
  useEffect(() => {
    document.title = `${title} · ${t.product}`;
  }, [title, t.product]);
  return (
    <Stack gap="lg" maw={1120} mx="auto">
      <Group justify="space-between" align="flex-start" gap={16}>
        <div>
          <Title order={1}>{title}</Title>
          {text !== undefined && <Text c="dimmed">{text}</Text>}
        </div>
        <Group gap={12}>
          {query && <CopyQuery {...query} />}
          {actions}
        </Group>
      </Group>
      {children}
    </Stack>
  );
}

/** The shape of rows that come. */
export function Loading({ rows = 4 }: { rows?: number }) {
  const { t } = useI18n();
  return (
    <Stack gap={12} role="status" aria-label={t.loading}>
      <Skeleton height={24} width="32%" />
      {Array.from({ length: rows }, (_, row) => (
        <Skeleton key={row} height={40} />
      ))}
    </Stack>
  );
}
