import { Button, Group, Select, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { Link } from "react-router";
import { useQuery } from "urql";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import type { UsageJobsQuery } from "../src/gql/graphql";
import { useI18n } from "../src/i18n";
import { CopyQuery } from "../ui/copy-query";
import { CsvButton } from "../ui/csv-button";
import { EmptyState } from "../ui/empty-state";
import { ErrorNotice } from "../ui/error-notice";
import { JobsTable } from "../ui/jobs-table";
import { Loading } from "../ui/page";
import { Pager } from "../ui/pager";
import { filterOf, statuses, type View } from "./usage-view";

const jobsQuery = graphql(`
  query UsageJobs($filter: JobFilter!, $after: String) {
    jobs(first: 20, after: $after, filter: $filter) {
      pageInfo {
        hasNextPage
        endCursor
      }
      nodes {
        ...JobRow
      }
    }
    models(first: 100) {
      nodes {
        id
        name
      }
    }
    apiKeys(first: 100) {
      nodes {
        id
        name
      }
    }
  }
`);

type Job = NonNullable<UsageJobsQuery["jobs"]>["nodes"][number];

interface UsageJobsProps {
  view: View;
  show: (changes: Record<string, string | null>) => void;
}

/** The period's jobs, narrowed by model, status and key. */
export function UsageJobs({ view, show }: UsageJobsProps) {
  const { t } = useI18n();
  const variables = { filter: filterOf(view), after: view.after };
  const [{ data, error, fetching }, reload] = useQuery({ query: jobsQuery, variables });
  const jobs = data?.jobs;
  return (
    <Stack gap={12} component="section" aria-label={t.usage.jobs} aria-busy={fetching}>
      <Group justify="space-between" gap={8}>
        <Title order={2}>{t.usage.jobs}</Title>
        <Group gap={8}>
          <CopyQuery document={jobsQuery} variables={variables} />
          <CsvButton name="tokengrid-jobs" rows={() => sheet(jobs?.nodes ?? [])} />
        </Group>
      </Group>
      <Filters view={view} show={show} data={data} />
      <ErrorNotice failure={failureOf(error)} retry={() => reload({ requestPolicy: "network-only" })} />
      {fetching && data === undefined && <Loading />}
      {jobs?.nodes.length === 0 && <NoJob view={view} show={show} />}
      {jobs && jobs.nodes.length > 0 && <JobsTable jobs={jobs.nodes} label={t.usage.jobs} />}
      {jobs && <Pager label={t.usage.jobs} page={jobs.pageInfo} />}
    </Stack>
  );
}

function Filters({ view, show, data }: UsageJobsProps & { data: UsageJobsQuery | undefined }) {
  const { t } = useI18n();
  const options = (entries: { id: string; name: string }[] | undefined) =>
    (entries ?? []).map(({ id, name }) => ({ value: id, label: name }));
  const filters = [
    { name: "model", value: view.model, data: options(data?.models?.nodes) },
    { name: "status", value: view.status, data: statuses.map((value) => ({ value, label: t.status[value] })) },
    { name: "key", value: view.apiKeyId, data: options(data?.apiKeys?.nodes) },
  ] as const;
  return (
    <SimpleGrid cols={3} spacing={8} maw={640}>
      {filters.map((filter) => (
        <Select
          key={filter.name}
          label={t.usage[filter.name]}
          placeholder={t.usage.any}
          clearable
          clearButtonProps={{ "aria-label": `${t.usage[filter.name]}: ${t.usage.any}` }}
          data={[...filter.data]}
          value={filter.value}
          onChange={(value) => show({ [filter.name]: value })}
        />
      ))}
    </SimpleGrid>
  );
}

function NoJob({ view, show }: UsageJobsProps) {
  const { t } = useI18n();
  if (view.model !== null || view.status !== null || view.apiKeyId !== null || view.after !== null) {
    return (
      <Group gap={12}>
        <Text c="dimmed">{t.usage.noMatch}</Text>
        <Button variant="default" onClick={() => show({ model: null, status: null, key: null })}>
          {t.usage.clear}
        </Button>
      </Group>
    );
  }
  const action = (
    <Button component={Link} to="/playground">
      {t.usage.emptyAction}
    </Button>
  );
  return <EmptyState title={t.usage.empty} text={t.usage.emptyText} action={action} />;
}

function sheet(jobs: Job[]): string[][] {
  const head = ["id", "model", "status", "prompt_tokens", "output_tokens", "charge", "currency", "received_at"];
  return [
    head,
    ...jobs.map((job) => [
      job.id,
      job.model,
      job.status,
      job.promptTokens,
      job.outputTokens ?? "",
      job.charge?.amount ?? "",
      job.charge?.currency ?? "",
      job.receivedAt,
    ]),
  ];
}
