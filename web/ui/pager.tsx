import { Button, Group } from "@mantine/core";
import { Link, useSearchParams } from "react-router";
import { useI18n } from "../src/i18n";

interface PagerProps {
  /** What is paged. */
  label: string;
  page: { hasNextPage: boolean; endCursor: string | null };
}

/** The next page of a list by its key, which stands in the address as `after`, and the way back to the first. */
export function Pager({ label, page }: PagerProps) {
  const { t } = useI18n();
  const [params] = useSearchParams();
  const to = (after: string | null) => {
    const next = new URLSearchParams(params);
    if (after === null) next.delete("after");
    else next.set("after", after);
    return { search: next.toString() };
  };
  const beyond = params.has("after");
  if (!beyond && !page.hasNextPage) return null;
  return (
    <Group component="nav" aria-label={label} gap={8}>
      {beyond && (
        <Button component={Link} to={to(null)} variant="default">
          {t.newest}
        </Button>
      )}
      {page.hasNextPage && (
        <Button component={Link} to={to(page.endCursor)} variant="default">
          {t.older}
        </Button>
      )}
    </Group>
  );
}
