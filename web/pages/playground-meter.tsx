import { Button, Group, SimpleGrid, Stack, Text } from "@mantine/core";
import { Link } from "react-router";
import { lineAmount, sum } from "../src/decimal";
import type { PerMillionFragment } from "../src/gql/graphql";
import { useI18n } from "../src/i18n";
import { Figure } from "../ui/figure";
import { type Amount, Money } from "../ui/money";
import { TokenCount } from "../ui/token-count";
import type { Run } from "./playground-run";

/** Pieces that come together tell no speed. */
const SPEED_MS_MIN = 50;

/** The prices in force. */
export interface Prices {
  inputPrice: PerMillionFragment | null;
  outputPrice: PerMillionFragment | null;
}

/** Tokens, speed and price: while it streams from the prices in force, afterwards what was charged and its receipt. */
export function Meter({ run, prices }: { run: Run; prices: Prices }) {
  const { language, t } = useI18n();
  const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
  const cost = run.charge ?? liveCost(run, prices);
  const speed = run.streamMs < SPEED_MS_MIN ? undefined : (Number(run.streamTokens) / run.streamMs) * 1000;
  return (
    <Stack gap={8}>
      <SimpleGrid cols={{ base: 2, sm: 5 }} spacing={8}>
        <Figure compact name={t.playground.tokensIn}>
          <TokenCount value={run.promptTokens.toString()} />
        </Figure>
        <Figure compact name={t.playground.tokensOut}>
          <TokenCount value={run.outputTokens.toString()} />
        </Figure>
        <Figure compact name={t.playground.firstToken}>
          {run.firstTokenMs === undefined ? "–" : `${whole.format(run.firstTokenMs)} ms`}
        </Figure>
        <Figure compact name={t.playground.speed}>
          {speed === undefined ? "–" : `${whole.format(speed)} ${t.playground.perSecond}`}
        </Figure>
        <Figure compact name={t.playground.cost} className="whole-row-on-phone">
          {cost ? <Money value={cost} /> : "–"}
        </Figure>
      </SimpleGrid>
      {run.jobId && run.ended && (
        <Group gap={16}>
          <Button component={Link} to={`/jobs/${run.jobId}`} variant="default" size="compact-md">
            {t.playground.receipt}
          </Button>
          {run.finishReason && <Text c="dimmed">{t.job.finish[run.finishReason]}</Text>}
        </Group>
      )}
    </Stack>
  );
}

function liveCost(run: Run, { inputPrice, outputPrice }: Prices): Amount | undefined {
  if (!inputPrice || !outputPrice) return undefined;
  const lines = [
    lineAmount(inputPrice.perMillion, run.promptTokens),
    lineAmount(outputPrice.perMillion, run.outputTokens),
  ];
  return { amount: sum(lines), currency: inputPrice.currency };
}
