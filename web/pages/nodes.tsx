import { Group, Paper, Stack, Table, Text, Title } from "@mantine/core";
import { useQuery } from "urql";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import type { NodesQuery } from "../src/gql/graphql";
import { useI18n } from "../src/i18n";
import { EmptyState } from "../ui/empty-state";
import { ErrorNotice } from "../ui/error-notice";
import { Id } from "../ui/id";
import { Loading, Page } from "../ui/page";
import { RelativeTime } from "../ui/relative-time";
import { Status } from "../ui/status";

const nodesQuery = graphql(`
  query Nodes {
    nodes(first: 100) {
      nodes {
        id
        name
        tier
        chip
        engine
        connectedAt
        draining
        load {
          running
          waiting
        }
        models {
          model
          slots
          slotsFree
          firstTokenMs
          tokensPerSecond
          reliability
        }
      }
    }
  }
`);

type Node = NonNullable<NodesQuery["nodes"]>["nodes"][number];

/** What serves me, and how fast it was measured to be. */
export function Nodes() {
  const { t } = useI18n();
  const [{ data, error }, reload] = useQuery({ query: nodesQuery });
  const nodes = data?.nodes?.nodes;
  return (
    <Page title={t.nodes.title} text={t.nodes.text}>
      <ErrorNotice failure={failureOf(error)} retry={() => reload({ requestPolicy: "network-only" })} />
      {data === undefined && error === undefined && <Loading />}
      {nodes?.length === 0 && <EmptyState title={t.nodes.empty} text={t.nodes.emptyText} />}
      {nodes?.map((node) => <NodeCard key={node.id} node={node} />)}
    </Page>
  );
}

function NodeCard({ node }: { node: Node }) {
  const { t } = useI18n();
  return (
    <Paper withBorder p="md" component="section" aria-label={node.name}>
      <Stack gap="md">
        <Group justify="space-between">
          <div>
            <Title order={2}>{node.name}</Title>
            <Id value={node.id} />
          </div>
          <Status is={node.draining ? "caution" : "good"}>{node.draining ? t.nodes.draining : t.nodes.serving}</Status>
        </Group>
        <Group gap={24}>
          <Fact name={t.nodes.tierLabel}>{t.nodes.tier[node.tier]}</Fact>
          <Fact name={t.nodes.chip}>{node.chip}</Fact>
          <Fact name={t.nodes.engine}>{node.engine}</Fact>
          <Fact name={t.nodes.connected}>
            <RelativeTime at={node.connectedAt} />
          </Fact>
          <Fact name={t.nodes.loadLabel}>{t.nodes.load(node.load.running, node.load.waiting)}</Fact>
        </Group>
        <Models models={node.models} label={node.name} />
      </Stack>
    </Paper>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <Text c="dimmed" fz="xs">
        {name}
      </Text>
      <Text component="div">{children}</Text>
    </div>
  );
}

function Models({ models, label }: { models: Node["models"]; label: string }) {
  const { language, t } = useI18n();
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
  const share = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
  const measured = (value: number | null | undefined, print: (value: number) => string) =>
    typeof value === "number" ? print(value) : t.nodes.noData;
  return (
    <Table.ScrollContainer minWidth={480} type="native" tabIndex={0} role="region" aria-label={`${label}: ${t.nodes.model}`}>
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{t.nodes.model}</Table.Th>
            <Table.Th className="number">{t.nodes.firstToken}</Table.Th>
            <Table.Th className="number">{t.nodes.speed}</Table.Th>
            <Table.Th className="number">{t.nodes.reliability}</Table.Th>
            <Table.Th className="number">{t.nodes.slots}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {models.map((model) => (
            <Table.Tr key={model.model}>
              <Table.Td>{model.model}</Table.Td>
              <Table.Td className="number">{measured(model.firstTokenMs, (ms) => `${number.format(ms)} ms`)}</Table.Td>
              <Table.Td className="number">
                {measured(model.tokensPerSecond, (speed) => `${number.format(speed)} ${t.playground.perSecond}`)}
              </Table.Td>
              <Table.Td className="number">{measured(model.reliability, (value) => share.format(value))}</Table.Td>
              <Table.Td className="number">
                {model.slotsFree} / {model.slots}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
