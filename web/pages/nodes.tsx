import { Group, Paper, SimpleGrid, Stack, Table, Text, Title } from "@mantine/core";
import { useQuery } from "urql";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import type { NodesQuery } from "../src/gql/graphql";
import { useI18n } from "../src/i18n";
import { EmptyState } from "../ui/empty-state";
import { ErrorNotice } from "../ui/error-notice";
import { Fact } from "../ui/fact";
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
type NodeModel = Node["models"][number];

/** What serves me, and how fast it was measured to be. */
export function Nodes() {
  const { t } = useI18n();
  const [{ data, error }, reload] = useQuery({ query: nodesQuery });
  const nodes = data?.nodes?.nodes;
  return (
    <Page title={t.nodes.title} text={t.nodes.text} query={{ document: nodesQuery, variables: {} }}>
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

/** What was measured of each model: a table where there is room, facts under one another on a phone. */
function Models({ models, label }: { models: Node["models"]; label: string }) {
  const { language, t } = useI18n();
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
  const share = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
  const measured = (value: number | null | undefined, print: (value: number) => string) =>
    typeof value === "number" ? print(value) : t.nodes.noData;
  const facts = (model: NodeModel): [string, string][] => [
    [t.nodes.firstToken, measured(model.firstTokenMs, (ms) => `${number.format(ms)} ms`)],
    [t.nodes.speed, measured(model.tokensPerSecond, (speed) => `${number.format(speed)} ${t.playground.perSecond}`)],
    [t.nodes.reliability, measured(model.reliability, (value) => share.format(value))],
    [t.nodes.slots, `${model.slotsFree} / ${model.slots}`],
  ];
  const [first] = models;
  return (
    <>
      <Stack hiddenFrom="sm" gap={12}>
        {models.map((model) => (
          <div key={model.model}>
            <Text fw={600}>{model.model}</Text>
            <SimpleGrid cols={2} spacing={8}>
              {facts(model).map(([name, value]) => (
                <Fact key={name} name={name}>
                  {value}
                </Fact>
              ))}
            </SimpleGrid>
          </div>
        ))}
      </Stack>
      <Table visibleFrom="sm" aria-label={`${label}: ${t.nodes.model}`}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{t.nodes.model}</Table.Th>
            {first &&
              facts(first).map(([name]) => (
                <Table.Th key={name} className="number">
                  {name}
                </Table.Th>
              ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {models.map((model) => (
            <Table.Tr key={model.model}>
              <Table.Td>{model.model}</Table.Td>
              {facts(model).map(([name, value]) => (
                <Table.Td key={name} className="number">
                  {value}
                </Table.Td>
              ))}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </>
  );
}
