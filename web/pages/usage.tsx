import { SimpleGrid, Stack, Table } from "@mantine/core";
import { useState } from "react";
import { useSearchParams } from "react-router";
import { useQuery } from "urql";
import { dayOf } from "../src/days";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import type { BalanceQuery } from "../src/gql/graphql";
import { useI18n } from "../src/i18n";
import { ErrorNotice } from "../ui/error-notice";
import { Figure } from "../ui/figure";
import { Money } from "../ui/money";
import { Loading, Page } from "../ui/page";
import { RelativeTime } from "../ui/relative-time";
import { Status } from "../ui/status";
import { UsageJobs } from "./usage-jobs";
import { UsageSpend } from "./usage-spend";
import { viewOf } from "./usage-view";

const balanceQuery = graphql(`
  query Balance {
    balance {
      posted {
        ...Amount
      }
      pending {
        ...Amount
      }
      available {
        ...Amount
      }
      lots {
        kind
        amount {
          ...Amount
        }
        expiresAt
        lapsed
      }
    }
  }
`);

/** What is left, and where the money went: any row opens its jobs, any job its receipt. */
export function Usage() {
  const { t } = useI18n();
  const [params, setParams] = useSearchParams();
  const [today] = useState(() => dayOf(Date.now()));
  const [{ data, error }, reload] = useQuery({ query: balanceQuery });
  const view = viewOf(params, today);
  // Another view begins with its first page.
  const show = (changes: Record<string, string | null>) =>
    setParams((now) => {
      const next = new URLSearchParams(now);
      for (const [name, value] of Object.entries({ after: null, ...changes })) {
        if (value === null) next.delete(name);
        else next.set(name, value);
      }
      return next;
    });
  return (
    <Page title={t.usage.title}>
      <ErrorNotice failure={failureOf(error)} retry={() => reload({ requestPolicy: "network-only" })} />
      {data === undefined && error === undefined && <Loading figures={3} rows={1} />}
      {data?.balance && <Credit balance={data.balance} />}
      {/* What bars one of them bars all: it is said once. */}
      {error === undefined && <UsageSpend view={view} show={show} />}
      {error === undefined && <UsageJobs view={view} show={show} />}
    </Page>
  );
}

function Credit({ balance }: { balance: NonNullable<BalanceQuery["balance"]> }) {
  const { t } = useI18n();
  return (
    <Stack gap="md">
      <SimpleGrid cols={{ base: 2, sm: 3 }} spacing={{ base: 8, sm: "md" }}>
        {(["available", "pending", "posted"] as const).map((name) => (
          <Figure compact key={name} className={name === "available" ? "whole-row-on-phone" : undefined} name={t.balance[name]} text={t.balance[`${name}Text`]}>
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
