import { Box } from "@mantine/core";
import { ErrorNotice } from "../ui/error-notice";

/** A screen that could not be loaded or drawn. */
export function Broken() {
  const failure = { code: "unreachable", message: "The screen could not be loaded." };
  return (
    <Box component="main" p="xl" maw={640} mx="auto">
      <ErrorNotice failure={failure} retry={() => window.location.reload()} />
    </Box>
  );
}
