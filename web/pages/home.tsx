import { Anchor, Button, Group, Paper, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { useState } from "react";
import { Link } from "react-router";
import { useQuery } from "urql";
import { dayOf, instantsOf } from "../src/days";
import { isZero } from "../src/decimal";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import type { HomeQuery } from "../src/gql/graphql";
import { useI18n, type Words } from "../src/i18n";
import { ErrorNotice } from "../ui/error-notice";
import { Figure } from "../ui/figure";
import { JobsTable } from "../ui/jobs-table";
import { Money } from "../ui/money";
import { Loading, Page } from "../ui/page";
import { Status } from "../ui/status";

const homeQuery = graphql(`
  query Home($from: DateTime!, $to: DateTime!) {
    balance {
      available {
        ...Amount
      }
      pending {
        ...Amount
      }
    }
    apiKeys(first: 20) {
      nodes {
        id
        lastUsedAt
      }
    }
    jobs(first: 20) {
      nodes {
        ...JobRow
        firstTokenAt
      }
    }
    done: jobs(first: 1, filter: { status: DONE }) {
      nodes {
        id
      }
    }
    failed: jobs(first: 1, filter: { status: FAILED, from: $from }) {
      nodes {
        id
      }
    }
    usage(from: $from, to: $to, groupBy: DAY) {
      nodes {
        jobs
        amount {
          ...Amount
        }
      }
    }
    nodes(first: 1) {
      nodes {
        id
      }
    }
  }
`);

type Jobs = NonNullable<HomeQuery["jobs"]>["nodes"];

const RECENT = 5;

/** What to do next; once that is done: spend today, how fast it is, and what is wrong. */
export function Home() {
  const { t } = useI18n();
  const [today] = useState(() => dayOf(Date.now()));
  const [{ data, error }, reload] = useQuery({ query: homeQuery, variables: instantsOf(today, today) });
  const jobs = data?.jobs?.nodes ?? [];
  const steps = data?.apiKeys && data.jobs ? stepsOf(data) : [];
  return (
    <Page title={t.home.title}>
      <ErrorNotice failure={failureOf(error)} retry={() => reload({ requestPolicy: "network-only" })} />
      {data === undefined && error === undefined && <Loading figures={4} />}
      {steps.some((step) => !step.done) && <Checklist steps={steps} />}
      {data && (
        <SimpleGrid cols={{ base: 2, md: 4 }} spacing={{ base: 8, sm: "md" }}>
          {data.balance && <Available balance={data.balance} />}
          {steps.length > 0 && steps.every((step) => step.done) && <Today data={data} />}
        </SimpleGrid>
      )}
      {jobs.length > 0 && (
        <Stack gap={8}>
          <Group justify="space-between">
            <Title order={2}>{t.home.recent}</Title>
            <Anchor component={Link} to="/usage">
              {t.home.all}
            </Anchor>
          </Group>
          <JobsTable jobs={jobs.slice(0, RECENT)} label={t.home.recent} />
        </Stack>
      )}
    </Page>
  );
}

interface Step {
  name: "key" | "answer" | "call";
  to: string;
  done: boolean;
}

function stepsOf({ apiKeys, done }: HomeQuery): Step[] {
  const keys = apiKeys?.nodes ?? [];
  return [
    { name: "key", to: "/keys?make", done: keys.length > 0 },
    { name: "answer", to: "/playground", done: (done?.nodes.length ?? 0) > 0 },
    { name: "call", to: "/playground#code", done: keys.some((key) => key.lastUsedAt) },
  ];
}

function Checklist({ steps }: { steps: Step[] }) {
  const { t } = useI18n();
  const next = steps.find((step) => !step.done);
  return (
    <Paper withBorder p="lg">
      <Title order={2} mb="md">
        {t.home.welcome}
      </Title>
      <Stack gap="md" component="ol" m={0} p={0} style={{ listStyle: "none" }}>
        {steps.map((step, place) => (
          <Group key={step.name} component="li" justify="space-between" gap={12}>
            <div>
              <Text fw={600}>
                {place + 1}. {t.home.steps[step.name]}
              </Text>
              <Text c="dimmed">{t.home.steps[`${step.name}Text`]}</Text>
            </div>
            {step.done ? (
              <Status is="good">{t.home.steps.done}</Status>
            ) : (
              <Button component={Link} to={step.to} variant={step === next ? "filled" : "default"}>
                {t.home.steps[`${step.name}Action`]}
              </Button>
            )}
          </Group>
        ))}
      </Stack>
    </Paper>
  );
}

function Available({ balance }: { balance: NonNullable<HomeQuery["balance"]> }) {
  const { t } = useI18n();
  const held = (
    <>
      {t.balance.pending}: <Money value={balance.pending} />
    </>
  );
  return (
    <Figure compact name={t.balance.available} text={held}>
      <Money value={balance.available} exact />
    </Figure>
  );
}

/** What today cost, how fast it is, and what is wrong. */
function Today({ data }: { data: HomeQuery }) {
  const { t } = useI18n();
  const [day] = data.usage?.nodes ?? [];
  const median = firstTokenMs(data.jobs?.nodes ?? []);
  const wrong = wrongs(data, t);
  return (
    <>
      <Figure compact name={t.home.spent} text={t.home.spentText(day?.jobs ?? "0")}>
        {day ? <Money value={day.amount} /> : data.balance && <Money value={{ ...data.balance.available, amount: "0" }} />}
      </Figure>
      <Figure compact name={t.home.firstToken} text={t.home.firstTokenText}>
        {median === undefined ? "–" : `${median} ms`}
      </Figure>
      <Paper withBorder p="sm" component="section" aria-label={t.home.wrong}>
        <Text c="dimmed">{t.home.wrong}</Text>
        {wrong.length === 0 && <Status is="good">{t.home.nothingWrong}</Status>}
        {wrong.map(({ text, to }) => (
          <div key={text}>
            <Anchor component={Link} to={to}>
              <Status is="bad">{text}</Status>
            </Anchor>
          </div>
        ))}
      </Paper>
    </>
  );
}

/** What a person should look at, and where. */
function wrongs({ balance, failed, nodes }: HomeQuery, t: Words): { text: string; to: string }[] {
  return [
    { is: nodes?.nodes.length === 0, text: t.nodes.empty, to: "/supply/nodes" },
    { is: balance !== null && isZero(balance.available.amount), text: t.home.noCredit, to: "/usage" },
    { is: (failed?.nodes.length ?? 0) > 0, text: t.home.failed, to: "/usage?period=today&status=FAILED" },
  ].filter(({ is }) => is);
}

/** The middle of the latest jobs' times from request to first token. *Units*: milliseconds. */
function firstTokenMs(jobs: Jobs): number | undefined {
  const times = jobs.flatMap(({ receivedAt, firstTokenAt }) =>
    firstTokenAt === null ? [] : [Date.parse(firstTokenAt) - Date.parse(receivedAt)],
  );
  return times.toSorted((one, other) => one - other)[Math.floor(times.length / 2)];
}
