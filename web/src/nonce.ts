import { setNonce } from "get-nonce";

/** The word that lets this page's own style elements through its content security policy. */
export const styleNonce = document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.content ?? "";

// The scroll lock of dialogs writes a style element too, and asks here.
setNonce(styleNonce);
