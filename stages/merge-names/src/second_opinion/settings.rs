//! `[merge_names.second_opinion]` of the manifest.

use serde::{Deserialize, Serialize};

/// `[merge_names.second_opinion]`: a language model that is asked about what the rules leave open. Without the section
/// nobody is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondOpinionSettings {
    /// Where an OpenAI-compatible server is, up to and including `/v1`; `/chat/completions` is added.
    pub url: String,
    /// The model's name, as the server knows it.
    pub model: String,
    /// The environment variable that holds the key; without it none is sent.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// Only count the questions and say what they would cost.
    #[serde(default)]
    pub dry_run: bool,
    /// Questions in a request.
    #[serde(default = "default_batch")]
    pub batch: usize,
    /// Requests that one attempt at the step makes, tries again included. What is left over keeps the rules' decision;
    /// which questions those are depends on what the run's cache answers.
    #[serde(default = "default_max_requests")]
    pub max_requests: u64,
    /// What the requests of one attempt may cost, in the currency of the prices; 0 is no limit. Requests under way when it is
    /// reached are not counted before their replies come.
    #[serde(default)]
    pub max_cost: f64,
    /// Price of a million tokens sent.
    #[serde(default)]
    pub price_in: f64,
    /// Price of a million tokens received.
    #[serde(default)]
    pub price_out: f64,
    /// Requests started in a minute at most.
    #[serde(default = "default_requests_per_minute")]
    pub requests_per_minute: f64,
    /// Requests at a time.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// Seconds that a request may take.
    #[serde(default = "default_timeout_s")]
    pub timeout_s: f64,
    /// Tries again after a refusal (429), a failure of the server (5xx) or of the connection, each after a longer wait.
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// Whether the server is asked for a JSON object (`response_format`); a few servers do not know the field.
    #[serde(default = "default_json_mode")]
    pub json_mode: bool,
}

fn default_batch() -> usize {
    20
}
fn default_max_requests() -> u64 {
    1000
}
fn default_requests_per_minute() -> f64 {
    60.0
}
fn default_concurrency() -> usize {
    4
}
fn default_timeout_s() -> f64 {
    60.0
}
fn default_retries() -> u32 {
    4
}
fn default_json_mode() -> bool {
    true
}

impl SecondOpinionSettings {
    /// What is wrong with them, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        let at_least = |value: f64, least: f64| value.is_finite() && value >= least;
        let url = reqwest::Url::parse(&self.url).ok();
        let secret = url.as_ref().is_some_and(|u| {
            !u.username().is_empty() || u.password().is_some() || u.query().is_some()
        });
        let web = url.is_some_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        let variable = |name: &String| {
            let known = |c: char| c.is_ascii_alphanumeric() || c == '_';
            name.starts_with(|c: char| !c.is_ascii_digit()) && name.chars().all(known)
        };
        let faults = [
            // Neither is printed: it may be a key, and manifests are recorded in the run's folder.
            (
                secret,
                "url holds a user, a password or a query: a key belongs into the environment variable that api_key_env names".to_owned(),
            ),
            (
                !self.api_key_env.as_ref().is_none_or(variable),
                "api_key_env is no name of an environment variable: the key itself does not belong into the manifest".to_owned(),
            ),
            (
                !web,
                format!("url is `{}`: expected http://… or https://…", self.url),
            ),
            (self.model.is_empty(), "model is empty".to_owned()),
            (
                self.batch == 0 || self.batch > 200,
                "batch must be 1 to 200".to_owned(),
            ),
            (
                self.concurrency == 0 || self.concurrency > 1000,
                "concurrency must be 1 to 1000".to_owned(),
            ),
            (
                !at_least(self.requests_per_minute, 0.001),
                "requests_per_minute must be 0.001 or more".to_owned(),
            ),
            (
                !at_least(self.timeout_s, 0.001) || self.timeout_s > 86_400.0,
                "timeout_s must be 0.001 to 86400".to_owned(),
            ),
            (
                ![self.max_cost, self.price_in, self.price_out]
                    .iter()
                    .all(|v| at_least(*v, 0.0)),
                "max_cost, price_in and price_out must be 0 or more".to_owned(),
            ),
            (
                self.max_cost > 0.0 && self.price_in + self.price_out == 0.0,
                "max_cost needs price_in and price_out".to_owned(),
            ),
        ];
        let fault = faults.into_iter().find(|(wrong, _)| *wrong);
        fault.map(|(_, what)| format!("[merge_names.second_opinion] {what}"))
    }

    /// What the answers depend on. Not: how patiently, how fast and where the model is asked.
    pub(crate) fn key(&self) -> serde_json::Value {
        serde_json::json!({
            "model": self.model,
            "prompt": super::question::PROMPT_VERSION,
            "dry_run": self.dry_run,
            "max_requests": self.max_requests,
            "max_cost": self.max_cost,
        })
    }
}
