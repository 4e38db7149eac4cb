import { Anchor, Button, Group, Paper, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { Link } from "react-router";
import { useQuery } from "urql";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import { useI18n } from "../src/i18n";
import { ErrorNotice } from "../ui/error-notice";
import { Figure } from "../ui/figure";
import { JobsTable } from "../ui/jobs-table";
import { Money } from "../ui/money";
import { Loading, Page } from "../ui/page";
import { Status } from "../ui/status";

const homeQuery = graphql(`
  query Home {
    balance {
      available {
        amount
        currency
      }
      pending {
        amount
        currency
      }
    }
    apiKeys(first: 20) {
      nodes {
        id
        lastUsedAt
      }
    }
    jobs(first: 5) {
      nodes {
        id
        model
        status
        promptTokens
        outputTokens
        charge {
          amount
          currency
        }
        receivedAt
      }
    }
  }
`);

/** What to do next; once that is done, what is left and what happened last. */
export function Home() {
  const { t } = useI18n();
  const [{ data, error }, reload] = useQuery({ query: homeQuery });
  const keys = data?.apiKeys?.nodes;
  const jobs = data?.jobs?.nodes;
  const steps: Step[] = [
    { name: "key", to: "/keys", done: keys !== undefined && keys.length > 0 },
    { name: "answer", to: "/playground", done: jobs?.some((job) => job.status === "DONE") === true },
    { name: "call", to: "/playground#code", done: keys?.some((key) => key.lastUsedAt) === true },
  ];
  return (
    <Page title={t.home.title}>
      <ErrorNotice failure={failureOf(error)} retry={() => reload({ requestPolicy: "network-only" })} />
      {data === undefined && error === undefined && <Loading />}
      {keys !== undefined && jobs !== undefined && steps.some((step) => !step.done) && <Checklist steps={steps} />}
      {data?.balance && (
        <SimpleGrid cols={{ base: 1, xs: 2 }}>
          <Figure name={t.balance.available} text={t.balance.availableText}>
            <Money value={data.balance.available} exact />
          </Figure>
          <Figure name={t.balance.pending} text={t.balance.pendingText}>
            <Money value={data.balance.pending} exact />
          </Figure>
        </SimpleGrid>
      )}
      {jobs !== undefined && jobs.length > 0 && (
        <Stack gap={8}>
          <Group justify="space-between">
            <Title order={2}>{t.home.recent}</Title>
            <Anchor component={Link} to="/usage">
              {t.home.all}
            </Anchor>
          </Group>
          <JobsTable jobs={jobs} label={t.home.recent} />
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

function Checklist({ steps }: { steps: Step[] }) {
  const { t } = useI18n();
  const next = steps.find((step) => !step.done);
  return (
    <Paper withBorder p="lg">
      <Title order={2} mb="md">
        {t.home.welcome}
      </Title>
      <Stack gap="md" component="ol" m={0} p={0} style={{ listStyle: "none" }}>
        {steps.map((step) => (
          <Group key={step.name} component="li" justify="space-between" gap={12}>
            <div>
              <Text fw={600}>{t.home.steps[step.name]}</Text>
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
