import { Button } from "@mantine/core";
import { Link } from "react-router";
import { useI18n } from "../src/i18n";
import { EmptyState } from "../ui/empty-state";
import { Page } from "../ui/page";

/** An address that leads nowhere. */
export function NotFound() {
  const { t } = useI18n();
  return (
    <Page title={t.notFound.title}>
      <EmptyState
        title={t.notFound.title}
        text={t.notFound.text}
        action={
          <Button component={Link} to="/">
            {t.notFound.home}
          </Button>
        }
      />
    </Page>
  );
}
