//! Accounts: signing up, proving an address, signing in, and getting past a forgotten password.
//!
//! Promises that nobody learns here whether an address has an account: every answer looks the same and takes as long, and only
//! the address's own mail tells. A pending sign-up reserves nothing, so nobody can hold an address that is not theirs.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use primitives::clock::Clock;
use primitives::id::{EmailChallengeId, Ids, SessionId};
use primitives::tx::run_tx;
use secrecy::SecretString;
use sqlx::PgPool;

use crate::challenge::{Challenge, Challenges, Purpose};
use crate::error::Error;
use crate::identity::{Identity, NewTenant, checked_name, normalise_email};
use crate::limit::{Door, Limiter};
use crate::mail::{Mail, Mailer};
use crate::{password, repo};

/// A session that was opened.
pub type Session = (SessionId, DateTime<Utc>);

/// Signs people up and in.
#[derive(Clone)]
pub struct Accounts {
    /// The database.
    pub pool: PgPool,
    /// Time.
    pub clock: Clock,
    /// Identifiers.
    pub ids: Ids,
    /// People, tenants and keys.
    pub identity: Identity,
    /// Codes.
    pub challenges: Challenges,
    /// Mail.
    pub mailer: Mailer,
    /// Limits.
    pub limiter: Limiter,
}

impl Accounts {
    /// Mails a code that makes an account; to an address that has one, a word that it does.
    ///
    /// *Errors*: a bad address, password or name; too many sign-ups; no mail can be sent.
    pub async fn sign_up(
        &self,
        peer: IpAddr,
        email: &str,
        password: SecretString,
        tenant_name: &str,
    ) -> Result<Challenge, Error> {
        let email = normalise_email(email)?;
        let tenant_name = checked_name("tenantName", tenant_name)?;
        let envelope = self.mailer.envelope()?;
        self.limiter.knock(Door::Mail, peer, &email).await?;
        let password_hash = password::hash(password, &self.ids).await?;
        let known = repo::user_find(&mut *self.pool.acquire().await?, &email).await?.is_some();
        let purpose = Purpose::SignUp { password_hash, tenant_name };
        let (challenge, code) = self.challenges.open(&email, purpose, !known, self.clock.now()).await?;
        envelope.post(if known { already(email) } else { welcome(email, &code) });
        Ok(challenge)
    }

    /// Makes the account of a sign-up whose code came back, and opens a session.
    ///
    /// *Errors*: the code is wrong or no longer taken; the address got an account meanwhile.
    pub async fn verify(&self, id: EmailChallengeId, code: &str, hours: i64) -> Result<Session, Error> {
        let row = self.challenges.check(id, code, self.clock.now()).await?;
        let Purpose::SignUp { password_hash, tenant_name } = row.purpose else { return Err(Error::CodeExpired) };
        let new = NewTenant { email: row.email, password_hash, name: tenant_name, proved_by: Some(id) };
        let made = self.identity.open_tenant(new).await?;
        self.identity.open_session(made.user_id, hours).await
    }

    /// Opens a session; wrong address and wrong password look alike and take as long.
    pub async fn sign_in(
        &self,
        peer: IpAddr,
        email: &str,
        password: SecretString,
        hours: i64,
    ) -> Result<Session, Error> {
        let email = normalise_email(email).map_err(|_| Error::WrongPassword)?;
        self.limiter.knock(Door::SignIn, peer, &email).await?;
        let user = repo::user_find(&mut *self.pool.acquire().await?, &email).await?;
        let (id, hash) = user.map_or((None, None), |user| (Some(user.id), Some(user.password_hash)));
        let matched = password::matches(password, hash).await?;
        let user_id = id.filter(|_| matched).ok_or(Error::WrongPassword)?;
        self.identity.open_session(user_id, hours).await
    }

    /// Mails a code that allows a new password; an address without an account gets no mail.
    ///
    /// *Errors*: a bad address; too many requests; no mail can be sent.
    pub async fn forgot_password(&self, peer: IpAddr, email: &str) -> Result<Challenge, Error> {
        let email = normalise_email(email)?;
        let envelope = self.mailer.envelope()?;
        self.limiter.knock(Door::Mail, peer, &email).await?;
        let known = repo::user_find(&mut *self.pool.acquire().await?, &email).await?.is_some();
        let (challenge, code) = self.challenges.open(&email, Purpose::PasswordReset, known, self.clock.now()).await?;
        if known {
            envelope.post(forgotten(email, &code));
        }
        Ok(challenge)
    }

    /// Gives a person a new password, ends all their sessions, and opens a new one.
    ///
    /// *Errors*: the code is wrong or no longer taken; a bad password, which costs no attempt.
    pub async fn reset_password(
        &self,
        id: EmailChallengeId,
        code: &str,
        password: SecretString,
        hours: i64,
    ) -> Result<Session, Error> {
        let password_hash = password::hash(password, &self.ids).await?;
        let now = self.clock.now();
        let row = self.challenges.check(id, code, now).await?;
        if row.purpose != Purpose::PasswordReset {
            return Err(Error::CodeExpired);
        }
        let email = row.email;
        let reset = run_tx(&self.pool, "reset_password", |conn| {
            let (email, password_hash) = (email.clone(), password_hash.clone());
            Box::pin(async move {
                let used = repo::challenge_use(conn, id, now).await?;
                used.then_some(()).ok_or(Error::CodeExpired)?;
                let user_id = repo::user_set_password(conn, &email, &password_hash).await?;
                let user_id = user_id.ok_or(Error::CodeExpired)?;
                repo::sessions_revoke(conn, user_id, now).await?;
                Ok::<_, Error>(user_id)
            })
        });
        self.identity.open_session(reset.await?, hours).await
    }
}

/// Nobody's language is known before they have an account, so each mail speaks all of the console's.
fn welcome(to: String, code: &str) -> Mail {
    let text = format!(
        "Welcome to Tokengrid. Type this code where you signed up:\n\n{code}\n\nIt is taken for 15 minutes. If you did not sign up, do nothing: no account is made.\n\n\
         欢迎使用 Tokengrid。请在注册页面输入上面的验证码，15 分钟内有效。如果不是您本人操作，请忽略此邮件：不会创建任何账户。\n"
    );
    Mail { to, subject: subject(code), text }
}

fn already(to: String) -> Mail {
    let text = "Somebody, perhaps you, tried to sign up to Tokengrid with this address. It has an account already: sign in, or choose \"Forgot the password?\" there.\n\nIf it was not you, do nothing: nothing has changed.\n\n\
         有人（也许是您）尝试用此邮箱注册 Tokengrid。此邮箱已有账户：请直接登录，或在登录页选择“忘记密码？”。如果不是您本人操作，请忽略此邮件：没有任何变动。\n";
    Mail {
        to,
        subject: "You have a Tokengrid account already / 您已有 Tokengrid 账户".to_owned(),
        text: text.to_owned(),
    }
}

fn forgotten(to: String, code: &str) -> Mail {
    let text = format!(
        "Type this code where you asked for a new password:\n\n{code}\n\nIt is taken for 15 minutes. If you did not ask, do nothing: your password stays as it is.\n\n\
         请在重设密码的页面输入上面的验证码，15 分钟内有效。如果不是您本人操作，请忽略此邮件：密码不会改变。\n"
    );
    Mail { to, subject: subject(code), text }
}

fn subject(code: &str) -> String {
    format!("Your Tokengrid code / 验证码: {code}")
}
