import { Group, SimpleGrid, Skeleton, Stack, Text, Title } from "@mantine/core";
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
      <div>
        <Group justify="space-between" gap={16} wrap="nowrap">
          <Title order={1}>{title}</Title>
          <Group gap={12} wrap="nowrap">
            {query && <CopyQuery {...query} />}
            {actions}
          </Group>
        </Group>
        {text !== undefined && <Text c="dimmed">{text}</Text>}
      </div>
      {children}
    </Stack>
  );
}

/** The shape of what comes: figures side by side, then rows. */
export function Loading({ figures = 0, rows = 4 }: { figures?: number; rows?: number }) {
  const { t } = useI18n();
  return (
    <Stack gap={12} role="status" aria-label={t.loading}>
      {figures > 0 && (
        <SimpleGrid cols={{ base: 2, sm: figures }} spacing={8}>
          {Array.from({ length: figures }, (_, figure) => (
            <Skeleton key={figure} height={88} />
          ))}
        </SimpleGrid>
      )}
      {rows > 0 && <Skeleton height={24} width="32%" />}
      {Array.from({ length: rows }, (_, row) => (
        <Skeleton key={row} height={40} />
      ))}
    </Stack>
  );
}
