import { Alert, Text } from "@mantine/core";
import { useI18n } from "../src/i18n";

/** Says that a role is missing and who can grant it. */
export function Forbidden({ reason }: { reason?: string }) {
  const { t } = useI18n();
  return (
    <Alert color="yellow" variant="light" title={t.forbidden.title} role="alert">
      <Text>{t.forbidden.text}</Text>
      {reason !== undefined && (
        <Text lang="en" fz="xs" mt={8}>
          {reason}
        </Text>
      )}
    </Alert>
  );
}
