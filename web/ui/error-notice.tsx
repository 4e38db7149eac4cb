import { Alert, Anchor, Button, Group, Stack, Text } from "@mantine/core";
import { Link } from "react-router";
import type { Failure } from "../src/failure";
import { graphql } from "../src/gql";
import { useI18n } from "../src/i18n";
import { Forbidden } from "./forbidden";

graphql(`
  fragment Refused on Refusal {
    code
    message
    param
    retryAfterMs
  }
`);

/** What may pass by itself. */
const PASSING = new Set(["unreachable", "unavailable", "overloaded", "rate_limited", "internal", "conflict"]);
const SIGNED_OUT = new Set(["missing_credential", "invalid_api_key"]);

/** The one place that shows what went wrong: what happened, its code, and what to do. */
export function ErrorNotice({ failure, retry }: { failure: Failure | null | undefined; retry?: () => void }) {
  const { language, t } = useI18n();
  if (failure === null || failure === undefined) return null;
  if (failure.code === "forbidden") return <Forbidden reason={failure.message} />;
  const translated = t.error.byCode[failure.code];
  const after = failure.retryAfterMs;
  return (
    <Alert color="red" variant="light" title={t.error.title} role="alert">
      <Stack gap={8} align="flex-start">
        <Text>{translated ?? failure.message}</Text>
        {language !== "en" && translated !== undefined && failure.code !== "unreachable" && (
          <Text lang="en" fz="xs">
            {failure.message}
          </Text>
        )}
        {typeof after === "number" && <Text>{t.error.retryIn(duration(after, language))}</Text>}
        <Group gap={16}>
          <Text fz="xs" ff="monospace">
            {t.error.code}: {failure.code}
          </Text>
          {SIGNED_OUT.has(failure.code) && (
            <Anchor component={Link} to="/sign-in">
              {t.error.signIn}
            </Anchor>
          )}
          {retry !== undefined && PASSING.has(failure.code) && (
            <Button size="compact-sm" variant="default" onClick={retry}>
              {t.retry}
            </Button>
          )}
        </Group>
      </Stack>
    </Alert>
  );
}

/** A wait in words: seconds, or minutes where seconds are too many to wait for one by one. */
function duration(ms: number, language: string): string {
  const seconds = Math.ceil(ms / 1000);
  const format = (unit: string) => new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" });
  return seconds < 120 ? format("second").format(seconds) : format("minute").format(Math.ceil(seconds / 60));
}
