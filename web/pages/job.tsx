import { Anchor, Button, Group, Paper, Stack, Table, Text, Title } from "@mantine/core";
import { Link, useParams } from "react-router";
import { useQuery } from "urql";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import type { JobReceiptQuery } from "../src/gql/graphql";
import { useI18n, type Words } from "../src/i18n";
import { ErrorNotice } from "../ui/error-notice";
import { Id } from "../ui/id";
import { LedgerAccount } from "../ui/ledger-account";
import { Money } from "../ui/money";
import { Loading, Page } from "../ui/page";
import { Price } from "../ui/price";
import { RelativeTime } from "../ui/relative-time";
import { JobState } from "../ui/status";
import { type Span, Timeline } from "../ui/timeline";
import { TokenCount } from "../ui/token-count";
import { Verify } from "../ui/verify";

const jobReceiptQuery = graphql(`
  query JobReceipt($jobId: ID!) {
    job(id: $jobId) {
      id
      errorCode
    }
    receipt(jobId: $jobId) {
      jobId
      model
      status
      finishReason
      lines {
        meter
        quantity
        unitPrice {
          ...PerMillion
        }
        amount {
          ...Amount
        }
      }
      total {
        ...Amount
      }
      hold {
        ...Amount
      }
      holdReleased {
        ...Amount
      }
      transfers {
        id
        kind
        debit
        credit
        amount {
          ...Amount
        }
        at
      }
      block {
        height
        hash
      }
      segments {
        epoch
        nodeId
        tokens
        outcome
        grantedAt
        endedAt
      }
      receivedAt
      firstTokenAt
      endedAt
    }
  }
`);

type Receipt = NonNullable<JobReceiptQuery["receipt"]>;
type JobHold = NonNullable<JobReceiptQuery["job"]>;

/** What happened, and what was paid for it. */
export function Job() {
  const { t } = useI18n();
  const { id = "" } = useParams();
  const variables = { jobId: id };
  const [{ data, error }, reload] = useQuery({ query: jobReceiptQuery, variables });
  const print = (
    <Button variant="default" className="no-print" onClick={() => window.print()}>
      {t.job.print}
    </Button>
  );
  return (
    <Page title={t.job.title} actions={data?.receipt ? print : undefined} query={{ document: jobReceiptQuery, variables }}>
      <Anchor component={Link} to="/usage" className="no-print">
        {t.job.back}
      </Anchor>
      <ErrorNotice failure={failureOf(error)} retry={() => reload({ requestPolicy: "network-only" })} />
      {data === undefined && error === undefined && <Loading rows={6} />}
      {data?.receipt && data.job && <Bill receipt={data.receipt} job={data.job} />}
      {data?.receipt && <When receipt={data.receipt} />}
      {data?.receipt && <Transfers receipt={data.receipt} />}
      {data?.receipt?.block && <Verify {...data.receipt.block} />}
    </Page>
  );
}

function Bill({ receipt, job }: { receipt: Receipt; job: JobHold }) {
  const { t } = useI18n();
  return (
    <Paper withBorder p="lg" maw={720}>
      <Stack gap="md">
        <Group justify="space-between" align="flex-start" wrap="nowrap">
          <div>
            <Title order={2}>{receipt.model}</Title>
            <Id value={receipt.jobId} />
          </div>
          <Stack gap={0} align="flex-end">
            <JobState status={receipt.status} />
            <Text c="dimmed" fz="xs" ta="right">
              {receipt.finishReason ? t.job.finish[receipt.finishReason] : job.errorCode && `${t.error.code}: ${job.errorCode}`}
            </Text>
          </Stack>
        </Group>
        {!receipt.endedAt && <Text c="dimmed">{t.job.running}</Text>}
        <Table aria-label={t.job.lines}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{t.job.lines}</Table.Th>
              <Table.Th className="number">{t.job.quantity}</Table.Th>
              <Table.Th className="number" visibleFrom="xs">
                {t.job.price}
              </Table.Th>
              <Table.Th className="number">{t.job.amount}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {receipt.lines.map((line) => (
              <Table.Tr key={line.meter}>
                <Table.Td>{t.job.meter[line.meter] ?? line.meter}</Table.Td>
                <Table.Td className="number">
                  <TokenCount value={line.quantity} />
                </Table.Td>
                <Table.Td className="number" visibleFrom="xs">
                  <Price value={line.unitPrice} />
                </Table.Td>
                <Table.Td className="number">
                  <Money value={line.amount} exact />
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
        <Sum name={t.job.total} strong>
          <Money value={receipt.total} exact />
        </Sum>
        <div>
          <Sum name={t.job.held}>
            <Money value={receipt.hold} exact />
          </Sum>
          {receipt.holdReleased && (
            <Sum name={t.job.released}>
              <Money value={receipt.holdReleased} exact />
            </Sum>
          )}
        </div>
      </Stack>
    </Paper>
  );
}

function Sum({ name, strong = false, children }: { name: string; strong?: boolean; children: React.ReactNode }) {
  return (
    <Group justify="space-between" c={strong ? undefined : "dimmed"} fw={strong ? 600 : 400} px={8}>
      <Text inherit>{name}</Text>
      <Text inherit fz={strong ? "lg" : undefined}>
        {children}
      </Text>
    </Group>
  );
}

function When({ receipt }: { receipt: Receipt }) {
  const { t } = useI18n();
  return (
    <Stack gap={8} maw={720}>
      <Group justify="space-between">
        <Title order={2}>{t.job.timeline}</Title>
        <Text c="dimmed">
          <RelativeTime at={receipt.receivedAt} />
        </Text>
      </Group>
      <Timeline spans={spans(receipt, t)} label={t.job.timeline} />
      {receipt.segments.map((segment) => (
        <Group key={segment.epoch} gap="4px 16px">
          <Text c="dimmed">
            {t.job.node}
            {receipt.segments.length > 1 && ` (${t.job.part} ${segment.epoch})`}
          </Text>
          <Id value={segment.nodeId} />
          {segment.tokens && (
            <Text>
              {t.job.quantity}: <TokenCount value={segment.tokens} />
            </Text>
          )}
          {segment.outcome && (
            <Text c="dimmed">
              {t.job.outcome}: {t.job.outcomes[segment.outcome] ?? segment.outcome}
            </Text>
          )}
        </Group>
      ))}
    </Stack>
  );
}

/** Request, first grant, first token, end: as far as the job came. */
function spans(receipt: Receipt, t: Words): Span[] {
  const marks: [string, string | null | undefined, string][] = [
    [t.job.spans.queued, receipt.segments[0]?.grantedAt, "gray.5"],
    [t.job.spans.first, receipt.firstTokenAt, "accent.3"],
    [t.job.spans.decode, receipt.endedAt, "accent.7"],
  ];
  let from = new Date(receipt.receivedAt).getTime();
  return marks.flatMap(([name, at, color]) => {
    if (!at) return [];
    const until = new Date(at).getTime();
    const span = { name, ms: Math.max(0, until - from), color };
    from = until;
    return [span];
  });
}

function Transfers({ receipt }: { receipt: Receipt }) {
  const { t } = useI18n();
  return (
    <Stack gap={8}>
      <Title order={2}>{t.job.transfers}</Title>
      <Table aria-label={t.job.transfers}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th style={{ whiteSpace: "nowrap" }}>{t.job.what}</Table.Th>
            <Table.Th>
              {t.job.debit}
              <Text hiddenFrom="sm" inherit>
                → {t.job.credit}
              </Text>
            </Table.Th>
            <Table.Th visibleFrom="sm">{t.job.credit}</Table.Th>
            <Table.Th className="number">{t.job.amount}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {receipt.transfers.map((transfer) => (
            <Table.Tr key={transfer.id}>
              <Table.Td style={{ whiteSpace: "nowrap" }}>{t.job.kind[transfer.kind]}</Table.Td>
              <Table.Td>
                <LedgerAccount account={transfer.debit} />
                <Text hiddenFrom="sm" inherit>
                  → <LedgerAccount account={transfer.credit} />
                </Text>
              </Table.Td>
              <Table.Td visibleFrom="sm">
                <LedgerAccount account={transfer.credit} />
              </Table.Td>
              <Table.Td className="number">
                <Money value={transfer.amount} exact />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Stack>
  );
}
