import { Anchor, Group, SegmentedControl, Stack, Table, Text, TextInput, Title } from "@mantine/core";
import { Link } from "react-router";
import { useQuery } from "urql";
import { daysBetween, instantsOf } from "../src/days";
import { sum } from "../src/decimal";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import type { UsageSpendQuery } from "../src/gql/graphql";
import { useHotkeys } from "../src/hotkeys";
import { useI18n } from "../src/i18n";
import { BarChart } from "../ui/bar-chart";
import { CopyQuery } from "../ui/copy-query";
import { CsvButton } from "../ui/csv-button";
import { ErrorNotice } from "../ui/error-notice";
import { Money } from "../ui/money";
import { Loading } from "../ui/page";
import { ShareList } from "../ui/share-list";
import { TokenCount } from "../ui/token-count";
import { type Grouping, groupings, groups, type Period, periods, type View } from "./usage-view";

const spendQuery = graphql(`
  query UsageSpend($from: DateTime!, $to: DateTime!, $groupBy: UsageGroup!) {
    usage(from: $from, to: $to, groupBy: $groupBy, first: 100) {
      pageInfo {
        hasNextPage
      }
      nodes {
        key
        name
        jobs
        inputTokens
        outputTokens
        amount {
          ...Amount
        }
      }
    }
  }
`);

type Row = NonNullable<UsageSpendQuery["usage"]>["nodes"][number];

interface ViewProps {
  view: View;
  /** Changes what the address says; null takes a word out of it. */
  show: (changes: Record<string, string | null>) => void;
}

/** Where the money went in a period: a chart, or the same as a table. */
export function UsageSpend({ view, show }: ViewProps) {
  const { t } = useI18n();
  const variables = { ...instantsOf(view.first, view.last), groupBy: groups[view.by] };
  const [{ data, error, fetching }, reload] = useQuery({ query: spendQuery, variables });
  const toggle = () => show({ view: view.asTable ? null : "table", after: view.after });
  useHotkeys({ t: toggle });
  const rows = ordered(data?.usage?.nodes ?? [], view.by);
  const currency = rows[0]?.amount.currency;
  return (
    <Stack gap={12} component="section" aria-label={t.usage.spend} aria-busy={fetching}>
      <Group justify="space-between" gap={8}>
        <Title order={2}>{t.usage.spend}</Title>
        <Group gap={8}>
          <CopyQuery document={spendQuery} variables={variables} />
          <CsvButton name={`tokengrid-usage-${view.by}`} rows={() => sheet(rows)} />
        </Group>
      </Group>
      <Picker view={view} show={show} />
      <ErrorNotice failure={failureOf(error)} retry={() => reload({ requestPolicy: "network-only" })} />
      {fetching && data === undefined && <Loading rows={3} />}
      {data?.usage && currency === undefined && <Text c="dimmed">{t.usage.nothing}</Text>}
      {currency !== undefined && (
        <>
          <Text>
            {t.usage.total}: <Money value={{ amount: sum(rows.map((row) => row.amount.amount)), currency }} exact />
          </Text>
          {view.asTable ? <Sums rows={rows} view={view} /> : <Chart rows={rows} view={view} currency={currency} />}
        </>
      )}
      {data?.usage?.pageInfo.hasNextPage && <Text c="dimmed">{t.usage.more}</Text>}
    </Stack>
  );
}

function Picker({ view, show }: ViewProps) {
  const { t } = useI18n();
  const days = { from: view.first, to: view.last };
  return (
    <Group gap={12} align="flex-end">
      <SegmentedControl
        aria-label={t.usage.period}
        data={periods.map((value) => ({ value, label: t.usage.periods[value] }))}
        value={view.period}
        onChange={(period: Period) =>
          show({ period, ...(period === "custom" ? days : { from: null, to: null }) })
        }
      />
      {view.period === "custom" &&
        (["from", "to"] as const).map((end) => (
          <TextInput
            key={end}
            type="date"
            size="sm"
            label={t.usage[end]}
            value={days[end]}
            onChange={(event) => event.currentTarget.value && show({ [end]: event.currentTarget.value })}
          />
        ))}
      <SegmentedControl
        aria-label={t.usage.by}
        data={groupings.map((value) => ({ value, label: t.usage.groupings[value] }))}
        value={view.by}
        onChange={(by: Grouping) => show({ by })}
      />
      <SegmentedControl
        aria-label={t.usage.view}
        data={[
          { value: "chart", label: t.usage.chart },
          { value: "table", label: t.usage.table },
        ]}
        value={view.asTable ? "table" : "chart"}
        onChange={(shown) => show({ view: shown === "table" ? shown : null, after: view.after })}
      />
    </Group>
  );
}

function Chart({ rows, view, currency }: { rows: Row[]; view: View; currency: string }) {
  const { t } = useI18n();
  if (view.by !== "day") {
    return <ShareList label={t.usage.spend} shares={rows.map(({ key, name, amount }) => ({ key: key ?? "", name, amount }))} />;
  }
  const spent = new Map(rows.map((row) => [row.key, row.amount]));
  const bars = daysBetween(view.first, view.last).map((name) => ({ name, amount: spent.get(name) ?? { amount: "0", currency } }));
  return <BarChart label={`${t.usage.spend}, ${t.usage.groupings.day}`} bars={bars} />;
}

function Sums({ rows, view }: { rows: Row[]; view: View }) {
  const { t } = useI18n();
  return (
    <Table aria-label={t.usage.spend} highlightOnHover>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>{t.usage.groupings[view.by]}</Table.Th>
          <Table.Th className="number">{t.usage.jobs}</Table.Th>
          <Table.Th className="number" visibleFrom="sm">
            {t.usage.tokens}
          </Table.Th>
          <Table.Th className="number">{t.usage.cost}</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {rows.map((row) => (
          <Table.Tr key={row.key}>
            <Table.Td style={{ overflowWrap: "anywhere" }}>
              <RowName row={row} view={view} />
            </Table.Td>
            <Table.Td className="number">
              <TokenCount value={row.jobs} />
            </Table.Td>
            <Table.Td className="number" visibleFrom="sm">
              <TokenCount value={row.inputTokens} /> / <TokenCount value={row.outputTokens} />
            </Table.Td>
            <Table.Td className="number">
              <Money value={row.amount} />
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

/** A row's name, leading to its jobs where the list of jobs can be narrowed to them. */
function RowName({ row, view }: { row: Row; view: View }) {
  const filter = jobsOf(row, view);
  if (filter === undefined) return row.name;
  const search = new URLSearchParams({ by: view.by, view: "table", ...filter });
  return (
    <Anchor component={Link} to={{ search: search.toString() }}>
      {row.name}
    </Anchor>
  );
}

function jobsOf({ key }: Row, view: View): Record<string, string> | undefined {
  if (key === null || view.by === "project") return undefined;
  if (view.by === "day") return { period: "custom", from: key, to: key };
  return { ...periodOf(view), [view.by]: key };
}

function periodOf({ period, first, last }: View): Record<string, string> {
  return period === "custom" ? { period, from: first, to: last } : { period };
}

/** Days as they come; all else the most expensive first. */
function ordered(rows: Row[], by: Grouping): Row[] {
  if (by === "day") return rows;
  return rows.toSorted((one, other) => Number(other.amount.amount) - Number(one.amount.amount));
}

function sheet(rows: Row[]): string[][] {
  const head = ["key", "name", "jobs", "input_tokens", "output_tokens", "amount", "currency"];
  return [
    head,
    ...rows.map((row) => [
      row.key ?? "",
      row.name,
      row.jobs,
      row.inputTokens,
      row.outputTokens,
      row.amount.amount,
      row.amount.currency,
    ]),
  ];
}
