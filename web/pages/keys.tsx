import { Button, Group, Stack, Table, Text, TextInput, VisuallyHidden } from "@mantine/core";
import { type SubmitEvent, useState } from "react";
import { useSearchParams } from "react-router";
import { useQuery } from "urql";
import { useAttempt } from "../src/attempt";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import type { KeysQuery } from "../src/gql/graphql";
import { useI18n } from "../src/i18n";
import { useFreshKey } from "../src/session";
import { Dialog } from "../ui/dialog";
import { EmptyState } from "../ui/empty-state";
import { ErrorNotice } from "../ui/error-notice";
import { Id } from "../ui/id";
import { Loading, Page } from "../ui/page";
import { Pager } from "../ui/pager";
import { RelativeTime } from "../ui/relative-time";
import { Status } from "../ui/status";
import { KeyCreate } from "./key-create";

const keysQuery = graphql(`
  query Keys($after: String) {
    apiKeys(first: 50, after: $after) {
      pageInfo {
        hasNextPage
        endCursor
      }
      nodes {
        id
        name
        hint
        createdAt
        expiresAt
        revokedAt
        lastUsedAt
      }
    }
  }
`);

const revokeMutation = graphql(`
  mutation KeyRevoke($input: ApiKeyRevokeInput!) {
    apiKeyRevoke(input: $input) {
      id
      revokedAt
      refusal {
        ...Refused
      }
    }
  }
`);

type Key = NonNullable<KeysQuery["apiKeys"]>["nodes"][number];

/** Which keys there are, which were used when; made here, and revoked here. */
export function Keys() {
  const { t } = useI18n();
  const [params, setParams] = useSearchParams();
  const variables = { after: params.get("after") };
  const [{ data, error }, reload] = useQuery({ query: keysQuery, variables });
  const [revoking, setRevoking] = useState<Key>();
  const refresh = () => reload({ requestPolicy: "network-only" });
  const keys = data?.apiKeys;
  const failed = error !== undefined;
  const create = <Button onClick={() => setParams({ make: "" })}>{t.keys.create}</Button>;
  return (
    <Page title={t.keys.title} text={t.keys.text} actions={failed || keys?.nodes.length === 0 ? undefined : create} query={{ document: keysQuery, variables }}>
      <ErrorNotice failure={failureOf(error)} retry={refresh} />
      {data === undefined && error === undefined && <Loading />}
      {keys?.nodes.length === 0 && <EmptyState title={t.keys.empty} text={t.keys.emptyText} action={create} />}
      {keys && keys.nodes.length > 0 && <KeysTable keys={keys.nodes} onRevoke={setRevoking} />}
      {keys && <Pager label={t.keys.title} page={keys.pageInfo} />}
      {params.has("make") && <KeyCreate onClose={() => setParams({}, { replace: true })} onMade={refresh} />}
      {revoking && <RevokeDialog apiKey={revoking} onClose={() => setRevoking(undefined)} onRevoked={refresh} />}
    </Page>
  );
}

function KeysTable({ keys, onRevoke }: { keys: Key[]; onRevoke: (key: Key) => void }) {
  const { t } = useI18n();
  return (
    <Table aria-label={t.keys.title}>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>{t.keys.name}</Table.Th>
          <Table.Th visibleFrom="sm">{t.keys.key}</Table.Th>
          <Table.Th>{t.keys.lastUsed}</Table.Th>
          <Table.Th visibleFrom="md">{t.keys.created}</Table.Th>
          <Table.Th visibleFrom="md">{t.keys.expires}</Table.Th>
          <Table.Th visibleFrom="sm">{t.keys.state}</Table.Th>
          <Table.Th>
            <VisuallyHidden>{t.keys.revoke}</VisuallyHidden>
          </Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {keys.map((key) => (
          <Table.Tr key={key.id}>
            <Table.Td>
              <Text fw={600}>{key.name}</Text>
              <Text hiddenFrom="sm" component="div" fz="xs">
                <State apiKey={key} />
              </Text>
            </Table.Td>
            <Table.Td visibleFrom="sm">
              <Id value={key.id} />
              <Text c="dimmed" fz="xs" ff="monospace">
                …{key.hint}
              </Text>
            </Table.Td>
            <Table.Td>{key.lastUsedAt ? <RelativeTime at={key.lastUsedAt} /> : t.never}</Table.Td>
            <Table.Td visibleFrom="md">
              <RelativeTime at={key.createdAt} />
            </Table.Td>
            <Table.Td visibleFrom="md">
              {key.expiresAt ? <RelativeTime at={key.expiresAt} /> : t.keys.expiry.never}
            </Table.Td>
            <Table.Td visibleFrom="sm">
              <State apiKey={key} />
            </Table.Td>
            <Table.Td className="number">
              {!key.revokedAt && (
                <Button
                  variant="subtle"
                  color="red"
                  size="compact-sm"
                  aria-label={t.keys.revokeOf(key.name)}
                  onClick={() => onRevoke(key)}
                >
                  {t.keys.revoke}
                </Button>
              )}
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

function State({ apiKey }: { apiKey: Key }) {
  const { t } = useI18n();
  const [now] = useState(() => Date.now());
  if (apiKey.revokedAt) return <Status is="waiting">{t.keys.states.revoked}</Status>;
  if (apiKey.expiresAt && new Date(apiKey.expiresAt).getTime() <= now) {
    return <Status is="caution">{t.keys.states.expired}</Status>;
  }
  return <Status is="good">{t.keys.states.active}</Status>;
}

interface RevokeDialogProps {
  apiKey: Key;
  onClose: () => void;
  onRevoked: () => void;
}

/** Says what stops, and asks for the name. */
function RevokeDialog({ apiKey, onClose, onRevoked }: RevokeDialogProps) {
  const { t } = useI18n();
  const [typed, setTyped] = useState("");
  const { attempt, busy, failure } = useAttempt();
  const { freshKey, keepFreshKey } = useFreshKey();

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    if (!(await attempt(revokeMutation, { input: { id: apiKey.id } }))) return;
    if (freshKey?.id === apiKey.id) keepFreshKey(undefined);
    onRevoked();
    onClose();
  };

  return (
    <Dialog title={t.keys.revokeTitle(apiKey.name)} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          <Text>{t.keys.revokeText}</Text>
          <Text>
            {t.keys.revokeUsed}: {apiKey.lastUsedAt ? <RelativeTime at={apiKey.lastUsedAt} /> : t.never}
          </Text>
          <TextInput
            label={t.keys.revokeType(apiKey.name)}
            autoComplete="off"
            data-autofocus
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
          />
          <ErrorNotice failure={failure} />
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              {t.cancel}
            </Button>
            <Button type="submit" color="red" disabled={typed !== apiKey.name} loading={busy}>
              {t.keys.revoke}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
