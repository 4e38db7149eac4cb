import { Button, Group, NumberInput, Paper, Select, SimpleGrid, Stack, Text, Textarea, Tooltip } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useSearchParams } from "react-router";
import { useQuery } from "urql";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import type { JobSubmitInput, MessageInput, PlaygroundModelsQuery } from "../src/gql/graphql";
import { useI18n } from "../src/i18n";
import { useFreshKey, useKept } from "../src/session";
import { EmptyState } from "../ui/empty-state";
import { ErrorNotice } from "../ui/error-notice";
import { Loading, Page } from "../ui/page";
import { Price } from "../ui/price";
import { Snippet } from "../ui/snippet";
import { KeyCreate } from "./key-create";
import { code, dialects } from "./playground-code";
import { Meter } from "./playground-meter";
import { type Run, useRun } from "./playground-run";

const modelsQuery = graphql(`
  query PlaygroundModels {
    models(first: 100) {
      nodes {
        id
        name
        kind
        outputTokensMax
        inputPrice {
          ...PerMillion
        }
        cachedInputPrice {
          ...PerMillion
        }
        outputPrice {
          ...PerMillion
        }
        nodes
      }
    }
  }
`);

type Model = NonNullable<PlaygroundModelsQuery["models"]>["nodes"][number];

const MAX_TOKENS_DEFAULT = 256;
/** The hottest that a request may ask for (`JobSubmitInput.temperature`). */
const TEMPERATURE_MAX = 2;

/** What does it say, how fast, and what did that cost? */
export function Playground() {
  const { t } = useI18n();
  const [{ data, error }, reload] = useQuery({ query: modelsQuery });
  // What embeds does not answer.
  const models = data?.models?.nodes.filter(({ kind }) => kind !== "EMBEDDING");
  return (
    <Page title={t.playground.title}>
      <ErrorNotice failure={failureOf(error)} retry={() => reload({ requestPolicy: "network-only" })} />
      {data === undefined && error === undefined && <Loading />}
      {models?.length === 0 && <EmptyState title={t.playground.empty} text={t.playground.emptyText} />}
      {models?.[0] && <Bench models={models} preferred={models[0]} />}
    </Page>
  );
}

function Bench({ models, preferred }: { models: Model[]; preferred: Model }) {
  const { t } = useI18n();
  const [params, setParams] = useSearchParams();
  const [maxTokens, setMaxTokens] = useKept("playground.maxTokens", MAX_TOKENS_DEFAULT);
  const [temperature, setTemperature] = useKept("playground.temperature", 0);
  const [prompt, setPrompt] = useKept("playground.prompt", "");
  const [talk, setTalk] = useKept<MessageInput[]>("playground.talk", []);
  const { run, start, stop, clear } = useRun();
  const model = models.find(({ id }) => id === params.get("model")) ?? preferred;
  const running = run !== undefined && !run.ended;
  const input = (messages: MessageInput[]): JobSubmitInput => ({ model: model.id, messages, maxTokens, temperature });
  const asked: MessageInput = { role: "USER", content: prompt.trim() || t.playground.examples[0] || "" };

  const send = () => {
    if (running || prompt.trim() === "") return;
    // What failed stays out of the conversation, and its text in the field.
    const messages = [...talk, asked];
    void start({ ...input(messages), idempotencyKey: crypto.randomUUID() }, (text) => {
      if (text === "") return;
      setTalk([...messages, { role: "ASSISTANT", content: text }]);
      setPrompt("");
    });
  };
  const startOver = () => {
    setTalk([]);
    clear();
  };

  return (
    <Stack gap="lg">
      <Settings
        models={models}
        model={model}
        maxTokens={maxTokens}
        temperature={temperature}
        onModel={(id) => setParams({ model: id }, { replace: true })}
        onMaxTokens={setMaxTokens}
        onTemperature={setTemperature}
      />
      <Talk talk={talk} pending={running ? asked.content : undefined} run={run} model={model} />
      <ErrorNotice failure={run?.failure} />
      <form
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <Textarea
          label={t.playground.prompt}
          description={t.playground.promptHint}
          placeholder={t.playground.ask}
          autosize
          minRows={2}
          maxRows={12}
          value={prompt}
          onChange={(event) => setPrompt(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
          }}
        />
        <Group mt={12} gap={8}>
          <Button type="submit" disabled={prompt.trim() === ""} loading={running}>
            {t.playground.send}
          </Button>
          <Stop run={run} onStop={() => void stop()} />
          {talk.length > 0 && !running && (
            <Button variant="subtle" onClick={startOver}>
              {t.playground.clear}
            </Button>
          )}
          {talk.length === 0 &&
            run === undefined &&
            t.playground.examples.map((example) => (
              <Button key={example} variant="light" size="compact-md" onClick={() => setPrompt(example)}>
                {example}
              </Button>
            ))}
        </Group>
      </form>
      {run && <Meter run={run} prices={model} />}
      <Code input={input(lastRequest(talk, asked, prompt))} />
    </Stack>
  );
}

/** Stops what runs; when nothing does, says so. */
function Stop({ run, onStop }: { run: Run | undefined; onStop: () => void }) {
  const { t } = useI18n();
  const able = run?.jobId !== undefined && !run.ended;
  return (
    <Tooltip label={t.playground.stopWhy} disabled={able} events={{ hover: true, focus: true, touch: true }}>
      <Button
        variant="default"
        data-disabled={!able || undefined}
        aria-disabled={!able}
        loading={able && run.stopping}
        onClick={() => able && onStop()}
      >
        {t.playground.stop}
      </Button>
    </Tooltip>
  );
}

/** The request in code, with the key that this tab made last, or a way to make one. */
function Code({ input }: { input: JobSubmitInput }) {
  const { t } = useI18n();
  const { freshKey } = useFreshKey();
  const [making, { open, close }] = useDisclosure();
  const make = (
    <Group>
      <Button variant="default" onClick={open}>
        {t.playground.makeKey}
      </Button>
    </Group>
  );
  return (
    <>
      <Snippet
        title={t.playground.code}
        text={freshKey ? t.playground.codeKeyed : t.playground.codeText}
        dialects={dialects}
        code={(dialect) => code(dialect, input, window.location.origin, freshKey?.secret)}
        action={freshKey ? undefined : make}
      />
      {making && <KeyCreate onClose={close} />}
    </>
  );
}

/** What the snippet sends: what is being typed, or else what was sent last. */
function lastRequest(talk: MessageInput[], asked: MessageInput, prompt: string): MessageInput[] {
  return talk.length > 0 && prompt.trim() === "" ? talk.slice(0, -1) : [...talk, asked];
}

interface SettingsProps {
  models: Model[];
  model: Model;
  maxTokens: number;
  temperature: number;
  onModel: (id: string) => void;
  onMaxTokens: (tokens: number) => void;
  onTemperature: (temperature: number) => void;
}

function Settings(props: SettingsProps) {
  const { t } = useI18n();
  const { models, model } = props;
  return (
    <Stack gap={8}>
      <SimpleGrid cols={{ base: 2, xs: 3 }}>
        <Select
          className="whole-row-on-phone"
          label={t.playground.model}
          allowDeselect={false}
          data={models.map(({ id, name }) => ({ value: id, label: name }))}
          value={model.id}
          onChange={(id) => id && props.onModel(id)}
        />
        <NumberInput
          label={t.playground.maxTokens}
          min={1}
          max={Number(model.outputTokensMax)}
          allowDecimal={false}
          clampBehavior="strict"
          value={props.maxTokens}
          onChange={(value) => typeof value === "number" && props.onMaxTokens(value)}
        />
        <NumberInput
          label={t.playground.temperature}
          min={0}
          max={TEMPERATURE_MAX}
          step={0.1}
          decimalScale={2}
          value={props.temperature}
          onChange={(value) => typeof value === "number" && props.onTemperature(value)}
        />
      </SimpleGrid>
      <Text c="dimmed" fz="xs">
        <PriceLine model={model} />
      </Text>
      {model.nodes === 0 && <Text fz="xs">{t.playground.noNode}</Text>}
    </Stack>
  );
}

function PriceLine({ model: { inputPrice, cachedInputPrice, outputPrice } }: { model: Model }) {
  const { t } = useI18n();
  if (!inputPrice || !outputPrice) return t.playground.notForSale;
  return (
    <>
      {t.job.meter["input"]} <Price value={inputPrice} />
      {" / "}
      {cachedInputPrice && (
        <>
          {t.job.meter["cached_input"]} <Price value={cachedInputPrice} />
          {" / "}
        </>
      )}
      {t.job.meter["output"]} <Price value={outputPrice} />
      {" · "}
      {t.playground.perMillion}
    </>
  );
}

interface TalkProps {
  talk: MessageInput[];
  pending: string | undefined;
  run: Run | undefined;
  model: Model;
}

function Talk({ talk, pending, run, model }: TalkProps) {
  const { t } = useI18n();
  if (talk.length === 0 && pending === undefined) return null;
  return (
    <Stack gap={12} role="log" aria-label={t.playground.title}>
      {talk.map(({ role, content }, turn) => (
        <Message key={turn} name={role === "USER" ? t.playground.you : model.name} text={content} own={role === "USER"} />
      ))}
      {pending !== undefined && <Message name={t.playground.you} text={pending} own />}
      {pending !== undefined && <Message name={model.name} text={run?.text || `${t.playground.waiting}…`} own={false} />}
    </Stack>
  );
}

function Message({ name, text, own }: { name: string; text: string; own: boolean }) {
  return (
    <Paper withBorder={!own} p="md" bg={own ? "var(--mantine-color-default-hover)" : undefined}>
      <Text c="dimmed" fz="xs">
        {name}
      </Text>
      <Text style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }} fz="lg">
        {text}
      </Text>
    </Paper>
  );
}
