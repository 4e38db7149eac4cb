import "@mantine/core/styles.css";
import "./style.css";
import { MantineProvider } from "@mantine/core";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { createBrowserRouter, RouterProvider } from "react-router";
import { ExactnessProvider } from "./exactness";
import { I18nProvider } from "./i18n";
import { styleNonce } from "./nonce";
import { routes } from "./router";
import { SessionProvider } from "./session";
import { cssVariables, theme } from "./theme";

const root = document.getElementById("root");
if (root === null) throw new Error("the page has no root");

createRoot(root).render(
  <StrictMode>
    <MantineProvider
      theme={theme}
      cssVariablesResolver={cssVariables}
      defaultColorScheme="auto"
      getStyleNonce={() => styleNonce}
    >
      <I18nProvider>
        <SessionProvider>
          <ExactnessProvider>
            <RouterProvider router={createBrowserRouter(routes)} />
          </ExactnessProvider>
        </SessionProvider>
      </I18nProvider>
    </MantineProvider>
  </StrictMode>,
);
