import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import { en } from "./words/en";
import { zh } from "./words/zh";

/** The languages of the console, as `lang` writes them. */
export type Language = "en" | "zh-Hans";

/** All that the console says, in one language. */
export type Words = typeof en;

const dictionaries: Record<Language, Words> = { en, "zh-Hans": zh };
const STORAGE_KEY = "tokengrid.language";

interface I18n {
  language: Language;
  t: Words;
  setLanguage: (language: Language) => void;
}

const Context = createContext<I18n | undefined>(undefined);

/** Gives everything inside it its words, and the document its language. */
export function I18nProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(preferred);
  useEffect(() => {
    document.documentElement.lang = language;
    window.localStorage.setItem(STORAGE_KEY, language);
  }, [language]);
  const value = useMemo(() => ({ language, t: dictionaries[language], setLanguage }), [language]);
  return <Context value={value}>{children}</Context>;
}

/** The words, their language, and the switch. */
export function useI18n(): I18n {
  const value = useContext(Context);
  if (value === undefined) throw new Error("useI18n is used outside I18nProvider");
  return value;
}

function preferred(): Language {
  const stored = window.localStorage.getItem(STORAGE_KEY);
  if (stored === "en" || stored === "zh-Hans") return stored;
  return window.navigator.language.startsWith("zh") ? "zh-Hans" : "en";
}
