import { Button, Group, SimpleGrid, Stack, Table, Title } from "@mantine/core";
import { Link, useSearchParams } from "react-router";
import { useQuery } from "urql";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import type { UsageQuery } from "../src/gql/graphql";
import { useI18n } from "../src/i18n";
import { EmptyState } from "../ui/empty-state";
import { ErrorNotice } from "../ui/error-notice";
import { Figure } from "../ui/figure";
import { JobsTable } from "../ui/jobs-table";
import { Money } from "../ui/money";
import { Loading, Page } from "../ui/page";
import { RelativeTime } from "../ui/relative-time";
import { Status } from "../ui/status";

const usageQuery = graphql(`
  query Usage($after: String) {
    balance {
      posted {
        amount
        currency
      }
      pending {
        amount
        currency
      }
      available {
        amount
        currency
      }
      lots {
        kind
        amount {
          amount
          currency
        }
        expiresAt
        lapsed
      }
    }
    jobs(first: 20, after: $after) {
      pageInfo {
        hasNextPage
        endCursor
      }
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

/** What is left, and where the money went: any row opens its receipt. The page shown is in the address. */
export function Usage() {
  const { t } = useI18n();
  const [params] = useSearchParams();
  const after = params.get("after");
  const [{ data, error }, reload] = useQuery({ query: usageQuery, variables: { after } });
  return (
    <Page title={t.usage.title}>
      <ErrorNotice failure={failureOf(error)} retry={() => reload({ requestPolicy: "network-only" })} />
      {data === undefined && error === undefined && <Loading rows={6} />}
      {data?.balance && <Credit balance={data.balance} />}
      {data?.jobs && <Jobs jobs={data.jobs} first={after === null} />}
    </Page>
  );
}

function Credit({ balance }: { balance: NonNullable<UsageQuery["balance"]> }) {
  const { t } = useI18n();
  return (
    <Stack gap="md">
      <SimpleGrid cols={{ base: 1, sm: 3 }}>
        {(["available", "pending", "posted"] as const).map((name) => (
          <Figure key={name} name={t.balance[name]} text={t.balance[`${name}Text`]}>
            <Money value={balance[name]} exact />
          </Figure>
        ))}
      </SimpleGrid>
      <Table aria-label={t.balance.lots}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{t.balance.lots}</Table.Th>
            <Table.Th>{t.balance.lapses}</Table.Th>
            <Table.Th className="number">{t.balance.left}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {balance.lots.map((lot) => (
            <Table.Tr key={`${lot.kind} ${lot.expiresAt ?? ""}`}>
              <Table.Td>{t.balance.kind[lot.kind]}</Table.Td>
              <Table.Td>
                {lot.lapsed && <Status is="waiting">{t.balance.lapsed}</Status>}{" "}
                {lot.expiresAt ? <RelativeTime at={lot.expiresAt} /> : t.keys.expiry.never}
              </Table.Td>
              <Table.Td className="number">
                <Money value={lot.amount} exact />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Stack>
  );
}

function Jobs({ jobs, first }: { jobs: NonNullable<UsageQuery["jobs"]>; first: boolean }) {
  const { t } = useI18n();
  const { endCursor, hasNextPage } = jobs.pageInfo;
  if (jobs.nodes.length === 0 && first) {
    const action = (
      <Button component={Link} to="/playground">
        {t.usage.emptyAction}
      </Button>
    );
    return <EmptyState title={t.usage.empty} text={t.usage.emptyText} action={action} />;
  }
  return (
    <Stack gap={8}>
      <Title order={2}>{t.usage.jobs}</Title>
      <JobsTable jobs={jobs.nodes} label={t.usage.jobs} />
      <Group>
        {!first && (
          <Button component={Link} to="/usage" variant="default">
            {t.usage.jobs}: {t.newest}
          </Button>
        )}
        {hasNextPage && endCursor && (
          <Button component={Link} to={`/usage?after=${encodeURIComponent(endCursor)}`} variant="default">
            {t.older}
          </Button>
        )}
      </Group>
    </Stack>
  );
}
