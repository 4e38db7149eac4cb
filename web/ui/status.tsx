import { Box, Group, Text } from "@mantine/core";
import type { JobStatus } from "../src/gql/graphql";
import { useI18n } from "../src/i18n";
import { type Meaning, meaning } from "../src/theme";

const jobs: Record<JobStatus, Meaning> = {
  ADMITTED: "waiting",
  STREAMING: "busy",
  DONE: "good",
  FAILED: "bad",
  CANCELLED: "caution",
  VOIDED: "waiting",
};

/** A dot and a word; the dot never speaks alone. */
export function Status({ is, children }: { is: Meaning; children: string }) {
  return (
    <Group gap={8} wrap="nowrap" display="inline-flex">
      <Box w={8} h={8} style={{ borderRadius: 4, flexShrink: 0 }} bg={`${meaning[is]}.6`} aria-hidden="true" />
      <Text component="span" inherit style={{ whiteSpace: "nowrap" }}>
        {children}
      </Text>
    </Group>
  );
}

/** How far a job is. */
export function JobState({ status }: { status: JobStatus }) {
  const { t } = useI18n();
  return <Status is={jobs[status]}>{t.status[status]}</Status>;
}
