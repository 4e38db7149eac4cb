import { Box } from "@mantine/core";
import { Navigate, Outlet, ScrollRestoration, useLocation, useNavigate } from "react-router";
import { useMutation, useQuery } from "urql";
import { failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import { useRenewSession } from "../src/session";
import { ErrorNotice } from "../ui/error-notice";
import { Loading } from "../ui/page";
import { Shell } from "../ui/shell";

const frameQuery = graphql(`
  query Frame {
    me {
      id
      email
      tenant {
        id
        name
      }
    }
  }
`);

const signOutMutation = graphql(`
  mutation SignOut {
    sessionEnd {
      endedAt
      refusal {
        ...Refused
      }
    }
  }
`);

/** What every screen needs first: who is asking. Nobody is sent to sign in, and comes back afterwards. */
export function Frame() {
  const { pathname, search, hash } = useLocation();
  const navigate = useNavigate();
  const renew = useRenewSession();
  const [{ data, error, fetching }, reload] = useQuery({ query: frameQuery });
  const [, signOut] = useMutation(signOutMutation);
  if (data?.me === null && error === undefined) {
    return fetching ? <Waiting /> : <Navigate to="/sign-in" replace state={{ from: `${pathname}${search}${hash}` }} />;
  }
  if (data?.me === undefined || data.me === null) {
    if (fetching) return <Waiting />;
    return (
      <Box p="xl" maw={640} mx="auto">
        <ErrorNotice failure={failureOf(error)} retry={() => reload({ requestPolicy: "network-only" })} />
      </Box>
    );
  }
  const leave = async () => {
    await signOut({});
    renew();
    await navigate("/sign-in");
  };
  return (
    <Shell email={data.me.email ?? ""} tenant={data.me.tenant?.name ?? ""} onSignOut={() => void leave()}>
      <Outlet />
      <ScrollRestoration />
    </Shell>
  );
}

function Waiting() {
  return (
    <Box p="xl" maw={640} mx="auto">
      <Loading />
    </Box>
  );
}
