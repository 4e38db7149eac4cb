//! Accounts without a session: codes by mail, what they open, and what nobody learns from them.

use serde_json::{Value, json};
use tests::client::Client;
use tests::outbox::Mail;
use tests::system::TestSystem;

const SIGN_UP: &str = "mutation($input: UserSignUpInput!) {
    userSignUp(input: $input) { challenge { id expiresAt } refusal { code retryAfterMs } }
}";
const VERIFY: &str =
    "mutation($input: UserVerifyInput!) { userVerify(input: $input) { me { email } refusal { code param } } }";
const FORGOT: &str = "mutation($input: PasswordResetRequestInput!) {
    passwordResetRequest(input: $input) { challenge { id expiresAt } refusal { code retryAfterMs } }
}";
const RESET: &str =
    "mutation($input: PasswordResetInput!) { passwordReset(input: $input) { me { email } refusal { code param } } }";
const SIGN_IN: &str = "mutation($input: SessionCreateInput!) {
    sessionCreate(input: $input) { me { email } refusal { code } }
}";
const ME: &str = "{ me { email } }";
const PASSWORD: &str = "correct horse battery";
const NEW_PASSWORD: &str = "staple battery horse";

#[tokio::test]
async fn a_code_opens_an_account_once_and_takes_five_tries() {
    let system = TestSystem::builder().start().await;
    let (browser, email) = (system.stranger().browser(), system.email("ada"));
    let challenge = sign_up(&browser, &email).await;
    let code = code_of(&system.outbox.mail(&email, 1).await);
    for _ in 0..4 {
        let refusal = verify(&browser, &challenge, &other_than(&code)).await["refusal"].clone();
        assert_eq!(refusal, json!({"code": "wrong_code", "param": "code"}));
    }
    assert_eq!(verify(&browser, &challenge, &code).await["me"]["email"], email, "the fifth try is the last");
    assert_eq!(data(&browser, ME, json!({})).await["me"]["email"], email, "the session came as a cookie");
    let again = verify(&system.stranger(), &challenge, &code).await;
    assert_eq!((&again["refusal"]["code"], &again["me"]), (&json!("code_expired"), &json!(null)));

    let email = system.email("eve");
    let challenge = sign_up(&browser, &email).await;
    let code = code_of(&system.outbox.mail(&email, 1).await);
    for _ in 0..5 {
        assert_eq!(verify(&browser, &challenge, &other_than(&code)).await["refusal"]["code"], "wrong_code");
    }
    assert_eq!(verify(&browser, &challenge, &code).await["refusal"]["code"], "code_expired", "five tries were taken");
    system.end().await;
}

#[tokio::test]
async fn whether_an_address_has_an_account_is_told_by_its_mail_alone() {
    let system = TestSystem::builder().start().await;
    let (stranger, ada, bob) = (system.stranger(), system.email("ada"), system.email("bob"));
    let challenge = sign_up(&stranger, &ada).await;
    let code = code_of(&system.outbox.mail(&ada, 1).await);
    verify(&stranger, &challenge, &code).await;

    let again = sign_up(&stranger, &ada).await;
    let mail = system.outbox.mail(&ada, 2).await;
    assert!(mail.subject.contains("already") && mail.code().is_none(), "{mail:?}");
    let refused = verify(&stranger, &again, "00000000").await;
    assert_eq!(refused["refusal"]["code"], "wrong_code", "as for any address");

    // Nobody has an account at this address: the answer is the same, and its first mail is that of a later sign-up.
    let forgotten = data(&stranger, FORGOT, json!({"input": {"email": bob}})).await["passwordResetRequest"].clone();
    assert!(forgotten["challenge"]["id"].is_string() && forgotten["refusal"].is_null(), "{forgotten}");
    let challenge = sign_up(&stranger, &bob).await;
    let code = code_of(&system.outbox.mail(&bob, 1).await);
    assert_eq!(verify(&stranger, &challenge, &code).await["me"]["email"], bob);
    system.end().await;
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_mail_and_every_other_session_ends() {
    let system = TestSystem::builder().start().await;
    let (old, new, email) = (system.stranger().browser(), system.stranger().browser(), system.email("ada"));
    let challenge = sign_up(&old, &email).await;
    let sign_up_code = code_of(&system.outbox.mail(&email, 1).await);
    verify(&old, &challenge, &sign_up_code).await;

    let forgotten = data(&new, FORGOT, json!({"input": {"email": email}})).await["passwordResetRequest"].clone();
    let code = code_of(&system.outbox.mail(&email, 2).await);
    let reset = async |code: &str, password: &str| {
        let input = json!({"challengeId": forgotten["challenge"]["id"], "code": code, "password": password});
        data(&new, RESET, json!({"input": input})).await["passwordReset"].clone()
    };
    assert_eq!(reset(&code, "short").await["refusal"]["param"], "password");
    assert_eq!(reset(&other_than(&code), NEW_PASSWORD).await["refusal"]["code"], "wrong_code");
    // A code that resets a password makes no account.
    let crossed = verify(&new, &forgotten["challenge"]["id"], &code).await;
    assert!(crossed["me"].is_null() && crossed["refusal"].is_object(), "{crossed}");

    let forgotten = data(&new, FORGOT, json!({"input": {"email": email}})).await["passwordResetRequest"].clone();
    let code = code_of(&system.outbox.mail(&email, 3).await);
    let input = json!({"challengeId": forgotten["challenge"]["id"], "code": code, "password": NEW_PASSWORD});
    let changed = data(&new, RESET, json!({"input": input})).await["passwordReset"].clone();
    assert_eq!((&changed["me"]["email"], &changed["refusal"]), (&json!(email), &json!(null)));
    assert_eq!(data(&new, ME, json!({})).await["me"]["email"], email);
    assert_eq!(data(&old, ME, json!({})).await["me"], json!(null), "the old session is over");
    for (password, opens) in [(PASSWORD, false), (NEW_PASSWORD, true)] {
        let input = json!({"input": {"email": email, "password": password}});
        let opened = data(&system.stranger(), SIGN_IN, input).await["sessionCreate"].clone();
        assert_eq!(opened["me"]["email"] == email, opens, "{opened}");
    }
    system.end().await;
}

#[tokio::test]
async fn an_address_gets_five_mails_an_hour() {
    let system = TestSystem::builder().start().await;
    let (stranger, email) = (system.stranger(), system.email("ada"));
    for _ in 0..5 {
        sign_up(&stranger, &email).await;
    }
    let input = json!({"input": {"email": email, "password": PASSWORD, "tenantName": "Ada"}});
    for (query, name, input) in
        [(SIGN_UP, "userSignUp", input), (FORGOT, "passwordResetRequest", json!({"input": {"email": email}}))]
    {
        let refused = data(&stranger, query, input).await[name].clone();
        assert_eq!((&refused["refusal"]["code"], &refused["challenge"]), (&json!("rate_limited"), &json!(null)));
        let wait = &refused["refusal"]["retryAfterMs"];
        assert!(wait.as_i64().or_else(|| wait.as_str()?.parse().ok()).is_some_and(|ms| ms > 0), "{refused}");
    }
    system.outbox.mail(&email, 5).await;
    system.end().await;
}

#[tokio::test]
async fn a_sign_up_that_is_not_verified_reserves_nothing_and_its_code_is_kept_nowhere() {
    let system = TestSystem::builder().start().await;
    let (stranger, email) = (system.stranger(), system.email("ada"));
    let squatters = sign_up(&stranger, &email).await;
    let squatters_code = code_of(&system.outbox.mail(&email, 1).await);
    let owners = sign_up(&stranger, &email).await;
    let owners_code = code_of(&system.outbox.mail(&email, 2).await);
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM api.email_challenges c WHERE c::text LIKE $1")
        .bind(format!("%{owners_code}%"))
        .fetch_one(&mut system.database().await)
        .await
        .unwrap();
    assert_eq!(kept, 0, "a copy of the database tells no code");
    assert_eq!(verify(&stranger, &owners, &owners_code).await["me"]["email"], json!(email));
    let late = verify(&stranger, &squatters, &squatters_code).await;
    assert_eq!((&late["me"], &late["refusal"]["code"]), (&json!(null), &json!("conflict")), "{late}");
    system.end().await;
}

#[tokio::test]
async fn signing_in_is_limited_alike_for_an_address_with_and_without_an_account() {
    let system = TestSystem::builder().start().await;
    let (stranger, known) = (system.stranger(), system.email("ada"));
    signed_up(&system, &stranger, &known).await;
    let wrong = |email: &str| json!({"input": {"email": email, "password": "not the password"}});
    for email in [known, system.email("nobody")] {
        for _ in 0..10 {
            let refused = data(&stranger, SIGN_IN, wrong(&email)).await["sessionCreate"].clone();
            assert_eq!(refused["refusal"]["code"], "wrong_password", "{refused}");
        }
        let refused = data(&stranger, SIGN_IN, wrong(&email)).await["sessionCreate"].clone();
        assert_eq!(refused["refusal"]["code"], "rate_limited", "{refused}");
    }
    system.end().await;
}

#[tokio::test]
async fn signing_in_again_ends_the_browsers_earlier_session() {
    let system = TestSystem::builder().start().await;
    let (browser, email) = (system.stranger().browser(), system.email("ada"));
    signed_up(&system, &browser, &email).await;
    let mut tokens = vec![];
    for _ in 0..2 {
        let input = json!({"input": {"email": email, "password": PASSWORD}});
        let body = json!({"query": SIGN_IN, "variables": input}).to_string();
        let answer = browser.post_raw("/graphql", body).await.ok();
        tokens.push(answer.session().expect("the session comes as a cookie").to_owned());
    }
    let who = async |token: &str| data(&system.stranger().with_key(token), ME, json!({})).await["me"].clone();
    assert_eq!(who(&tokens[1]).await["email"], json!(email));
    let first = system.stranger().with_key(&tokens[0]).graphql(ME, json!({})).await;
    assert_eq!(first["errors"][0]["extensions"]["code"], "invalid_api_key", "{first}");
    system.end().await;
}

#[tokio::test]
async fn the_cookie_is_kept_from_scripts_and_from_other_sites_and_sent_by_tls_where_there_is_tls() {
    let system = TestSystem::builder().start().await;
    let (browser, email) = (system.stranger().browser(), system.email("ada"));
    signed_up(&system, &browser, &email).await;
    let host = system.control_plane.address;
    let sign_in = json!({"query": SIGN_IN, "variables": {"input": {"email": email, "password": PASSWORD}}}).to_string();
    for (scheme, secure) in [("http", false), ("https", true)] {
        let page = system.stranger().with_header("origin", &format!("{scheme}://{host}"));
        let answer = page.post_raw("/graphql", sign_in.clone()).await.ok();
        let cookie = answer.header("set-cookie").expect("the session comes as a cookie");
        let attributes: Vec<&str> = cookie.split("; ").skip(1).collect();
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=604800"] {
            assert!(attributes.contains(&attribute), "{attribute} is not in {attributes:?}");
        }
        assert_eq!(attributes.contains(&"Secure"), secure, "{scheme}: {attributes:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }

    // The browser has a session, which speaks for none of these.
    let end = json!({"query": "mutation { sessionEnd { endedAt } }"}).to_string();
    for origin in ["https://evil.example", "null"] {
        let foreign = browser.with_header("origin", origin);
        let refused = foreign.post_raw("/graphql", end.clone()).await;
        assert_eq!(refused.status, 403, "{origin}: {}", refused.body);
        assert_eq!(foreign.knock("GET", "/graphql").await.status, 403, "{origin} opens no socket");
    }
    let form = browser.with_header("content-type", "text/plain").knock("POST", "/graphql").await;
    assert_eq!(form.status, 400, "a form is not JSON: {}", form.body);
    let read = browser.knock("GET", "/graphql?query=mutation%7BsessionEnd%7BendedAt%7D%7D").await;
    assert_eq!(read.status, 400, "a link changes nothing: {}", read.body);
    assert_eq!(data(&browser, ME, json!({})).await["me"]["email"], json!(email), "the session lives");
    system.end().await;
}

/// Signs a person up in this browser.
async fn signed_up(system: &TestSystem, browser: &Client, email: &str) {
    let challenge = sign_up(browser, email).await;
    let code = code_of(&system.outbox.mail(email, 1).await);
    assert_eq!(verify(browser, &challenge, &code).await["me"]["email"], json!(email));
}

async fn sign_up(client: &Client, email: &str) -> Value {
    let input = json!({"email": email, "password": PASSWORD, "tenantName": "Ada"});
    let asked = data(client, SIGN_UP, json!({"input": input})).await["userSignUp"].clone();
    assert!(asked["refusal"].is_null() && asked["challenge"]["expiresAt"].is_string(), "{asked}");
    asked["challenge"]["id"].clone()
}

async fn verify(client: &Client, challenge: &Value, code: &str) -> Value {
    let input = json!({"challengeId": challenge, "code": code});
    data(client, VERIFY, json!({"input": input})).await["userVerify"].clone()
}

fn code_of(mail: &Mail) -> String {
    let code = mail.code().unwrap_or_else(|| panic!("no code: {mail:?}"));
    assert_eq!(mail.subject, format!("Your Tokengrid code / 验证码: {code}"));
    code.to_owned()
}

/// A code that this one is not.
fn other_than(code: &str) -> String {
    let first = if code.starts_with('1') { "2" } else { "1" };
    format!("{first}{}", &code[1..])
}

async fn data(client: &Client, query: &str, variables: Value) -> Value {
    let answer = client.graphql(query, variables).await;
    assert!(answer["errors"].is_null(), "{query}: {answer}");
    answer["data"].clone()
}
