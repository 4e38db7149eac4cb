import { Anchor, Group, Table } from "@mantine/core";
import { Link } from "react-router";
import { graphql } from "../src/gql";
import type { JobRowFragment } from "../src/gql/graphql";
import { useI18n } from "../src/i18n";
import { Exact } from "./exact";
import { shortened } from "./id";
import { Money } from "./money";
import { RelativeTime } from "./relative-time";
import { JobState } from "./status";
import { TokenCount } from "./token-count";

graphql(`
  fragment JobRow on Job {
    id
    model
    status
    promptTokens
    outputTokens
    charge {
      ...Amount
    }
    receivedAt
  }
`);

/** Jobs, each leading to its receipt. */
export function JobsTable({ jobs, label }: { jobs: JobRowFragment[]; label: string }) {
  const { t } = useI18n();
  return (
    <Table aria-label={label} highlightOnHover>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>{t.usage.job}</Table.Th>
          <Table.Th visibleFrom="sm">{t.usage.model}</Table.Th>
          <Table.Th visibleFrom="sm">{t.usage.status}</Table.Th>
          <Table.Th visibleFrom="sm">{t.usage.when}</Table.Th>
          <Table.Th visibleFrom="sm" className="number">
            {t.usage.tokens}
          </Table.Th>
          <Table.Th className="number">{t.usage.cost}</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {jobs.map((job) => (
          <Table.Tr key={job.id}>
            <Table.Td>
              <Anchor component={Link} to={`/jobs/${job.id}`} fz="xs">
                <Exact short={shortened(job.id)} exact={job.id} monospace />
              </Anchor>
              <Group hiddenFrom="sm" c="dimmed" fz="xs" gap={12}>
                <JobState status={job.status} />
                <RelativeTime at={job.receivedAt} />
              </Group>
            </Table.Td>
            <Table.Td visibleFrom="sm">{job.model}</Table.Td>
            <Table.Td visibleFrom="sm">
              <JobState status={job.status} />
            </Table.Td>
            <Table.Td visibleFrom="sm">
              <RelativeTime at={job.receivedAt} />
            </Table.Td>
            <Table.Td visibleFrom="sm" className="number">
              <TokenCount value={job.promptTokens} /> / {job.outputTokens ? <TokenCount value={job.outputTokens} /> : "–"}
            </Table.Td>
            <Table.Td className="number">{job.charge ? <Money value={job.charge} /> : "–"}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
