//! What an operator sees, and does, in Chromium.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::actions::{InputSource, MOUSE_BUTTON_LEFT, MouseActions, PointerAction};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::stand::Stand;
use super::support::{PgInstall, PgServer, path};

/// A browser, as long as it is needed.
struct Browser {
    client: Client,
    driver: Child,
    _profile: TempDir,
}

/// What drives a browser, and on which port; `None` if it did not get the one that it chose.
fn driver() -> Option<(Child, u16)> {
    let driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn();
    let mut driver = driver.expect("scripts/setup-browser gets chromedriver");
    let mut said = BufReader::new(driver.stdout.take().unwrap()).lines().map(Result::unwrap);
    let Some(started) = said.find(|line| line.contains("started successfully on port")) else {
        driver.wait().unwrap();
        return None;
    };
    let port = started.trim_end_matches('.').rsplit(' ').next().unwrap().parse().unwrap();
    Some((driver, port))
}

impl Browser {
    async fn start() -> Self {
        // Between choosing a free port and taking it, somebody else may be faster.
        let (driver, port) = (0..10).find_map(|_| driver()).expect("chromedriver finds a port");
        let profile = tempfile::tempdir().unwrap();
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1200,1000",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let options = json!({ "args": arguments, "prefs": {} });
        let logged = json!({ "browser": "ALL" });
        let capabilities = [("goog:chromeOptions", options), ("goog:loggingPrefs", logged)];
        let capabilities = capabilities.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut client = ClientBuilder::new(HttpConnector::new());
        client.capabilities(capabilities);
        let client = client.connect(&format!("http://127.0.0.1:{port}")).await.unwrap();
        Self { client, driver, _profile: profile }
    }

    /// Waits until `found` is there, and gives its text; within two minutes, looking anew each second if that is wanted.
    async fn until(&self, found: &str, contains: &str, looks_anew: bool) -> String {
        let begun = Instant::now();
        loop {
            let mut seen = String::new();
            if let Ok(element) = self.client.find(Locator::Css(found)).await {
                seen = element.text().await.unwrap_or_default();
                if seen.contains(contains) {
                    return seen;
                }
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "no {contains:?} in {found}, but {seen:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
            if looks_anew {
                self.client.refresh().await.unwrap();
            }
        }
    }

    async fn click(&self, what: &str) {
        self.client
            .find(Locator::Css(what))
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"))
            .click()
            .await
            .unwrap();
    }

    async fn fill(&self, what: &str, text: &str) {
        let field = self.client.find(Locator::Css(what)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// That nothing is wider than the page, also on a telephone. Pictures of it are for people to judge: `PITR_SCREENSHOTS` says where to put them.
    async fn fits(&self, name: &str) {
        for (width, height) in [(390, 800), (1200, 1000)] {
            self.client.set_window_size(width, height).await.unwrap();
            if let Ok(directory) = std::env::var("PITR_SCREENSHOTS") {
                let picture = self.client.screenshot().await.unwrap();
                std::fs::write(format!("{directory}/{name}-{width}.png"), picture).unwrap();
            }
            let wider =
                self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
            assert_eq!(wider, json!(0), "at {width}: {}", self.client.current_url().await.unwrap());
        }
    }

    async fn end(mut self) {
        self.client.clone().close().await.unwrap();
        self.driver.kill().unwrap();
        self.driver.wait().unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.driver.kill());
    }
}

/// An operator comes in, sees how a server is, clicks an instant before a table was dropped, reads what that takes, and restores it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_restores_what_was_dropped() {
    let source = PgServer::create(PgInstall::find(15), &[], &["fsync = off"]);
    source.start();
    source.sql("CREATE TABLE accounts AS SELECT id, 1000 AS balance FROM generate_series(1, 1000) id");
    let connection = format!("host='{}' user=postgres", path(source.data().parent().unwrap()));
    let stand = Stand::new(&[
        &["protect", "shop", "--source", &connection, "--storage", "1"],
        &["configure", "shop", "--log-backup-every", "1s"],
    ]);
    let (browser, portal) = (Browser::start().await, format!("http://{}/", stand.host));
    browser.client.goto(&portal).await.unwrap();
    browser.fill("#token", "wrong").await;
    browser.click("form.card button").await;
    browser.until(".bad", "not the token", false).await;
    browser.fill("#token", &stand.token).await;
    browser.click("form.card button").await;
    browser.until("h1", "Servers", false).await;
    browser.until("tbody .badge", "green", true).await;
    browser.fits("servers").await;
    browser.click("tbody a").await;
    browser.until("h1", "shop", false).await;
    browser.until(".lead", "can be restored", true).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    source.sql("DROP TABLE accounts");
    tokio::time::sleep(Duration::from_secs(3)).await;
    browser.client.refresh().await.unwrap();
    for shown in ["svg.pitr-timeline", "svg.chart", "dl", "details table"] {
        browser.client.find(Locator::Css(shown)).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
    }
    browser.fits("server").await;

    // Near the beginning of what can be restored, the table is there.
    click_restorable(&browser).await;
    browser.until("h1", "Restore shop", false).await;
    let url = browser.client.current_url().await.unwrap();
    assert!(url.query().unwrap().starts_with("to=time&value="), "{url}");
    assert!(browser.until("pre", "considered", false).await.contains("chosen"));
    browser.fits("plan").await;
    browser.fill("#name", "shop-before").await;
    browser.click("form.card button").await;
    browser.until("h1", "Restore as shop-before", false).await;
    // Nobody looks again: the page does.
    browser.until("[data-live] strong", "made", false).await;
    let endpoint = browser.until("[data-live] code", "port=", false).await;
    let asked =
        PgInstall::find(15).expect("psql", &["-XqAt", "-d", &endpoint, "-c", "SELECT sum(balance) FROM accounts"]);
    assert_eq!(asked.trim(), "1000000");
    browser.until("ol", "logins", false).await;
    browser.fits("restore").await;
    browser.click("main nav a, header nav a").await;
    browser.until("tbody", "shop-before", false).await;
    looked_after(&browser, &format!("{portal}servers/shop")).await;
    browser.client.goto(&format!("{portal}servers/shop/changes")).await.unwrap();
    browser.until("tbody", "portal", false).await;
    browser.click("header form button").await;
    browser.until("h1", "Who is there?", false).await;
    browser.end().await;
}

/// Locked, held, kept for longer, paused; and not deleted, since it is locked.
async fn looked_after(browser: &Browser, server: &str) {
    browser.client.goto(server).await.unwrap();
    browser.fill("#lock", "production").await;
    browser.fill("#reason", "it is the shop").await;
    browser.click("form:has(#lock) button").await;
    browser.until("main", "CanNotDelete lock production", false).await;
    browser.fill("#hold", "audit").await;
    browser.click("form:has(#hold) button").await;
    browser.until("main", "Hold audit on", false).await;
    browser.fill("#days", "35").await;
    browser.click("form:has(#days) button").await;
    browser.until("h1", "Retention of shop", false).await;
    browser.click("form.card button").await;
    browser.until("dl", "35 days", false).await;
    browser.click("form:has([value=pause]) button").await;
    browser.until(".lead", "paused since", false).await;
    browser.fits("changed").await;
    for (typed, refused) in [("shed", "not the server's name"), ("shop", "it is the shop")] {
        browser.client.goto(&format!("{server}/delete")).await.unwrap();
        browser.fill("#name", typed).await;
        browser.click("form.card button").await;
        browser.until("[role=alert]", refused, false).await;
    }
    browser.client.goto(server).await.unwrap();
    browser.click("form:has([value=resume]) button").await;
    browser.until("main", "Pause backups", false).await;
}

/// A click into the left of the bar of what can be restored.
async fn click_restorable(browser: &Browser) {
    browser.run("document.querySelector('svg.pitr-timeline').scrollIntoView()").await;
    let bar = browser.client.find(Locator::Css("svg.pitr-timeline rect.can")).await.unwrap();
    let (.., width, _) = bar.rectangle().await.unwrap();
    let point = PointerAction::MoveToElement { element: bar, duration: None, x: -0.3 * width, y: 0.0 };
    let mouse = MouseActions::new("mouse".to_owned()).then(point);
    let mouse = mouse.then(PointerAction::Down { button: MOUSE_BUTTON_LEFT });
    browser.client.perform_actions(mouse.then(PointerAction::Up { button: MOUSE_BUTTON_LEFT })).await.unwrap();
}

/// What the portal says can be read by everybody: each field has a label, each picture is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_can_be_read_without_seeing_them() {
    let source = PgServer::create(PgInstall::find(15), &[], &["fsync = off"]);
    source.start();
    let connection = format!("host='{}' user=postgres", path(source.data().parent().unwrap()));
    let stand = Stand::new(&[
        &["protect", "shop", "--source", &connection],
        &["configure", "shop", "--log-backup-every", "1s", "--delete-grace", "1h"],
    ]);
    let (browser, portal) = (Browser::start().await, format!("http://{}/", stand.host));
    browser.client.goto(&portal).await.unwrap();
    browser.fill("#token", &stand.token).await;
    browser.click("form.card button").await;
    browser.until("tbody .badge", "green", true).await;
    for page in [
        "login",
        "",
        "servers/shop",
        "servers/shop/plan?to=latest",
        "servers/shop/changes",
        "servers/shop/delete",
        "servers/shop/retention?days=9",
    ] {
        browser.client.goto(&format!("{portal}{page}")).await.unwrap();
        let wrong = browser.run(UNTOLD).await;
        assert_eq!(wrong, json!([]), "{page}");
    }
    // Where there is time for it, a deletion is undone.
    browser.client.goto(&format!("{portal}servers/shop/delete")).await.unwrap();
    browser.until(".bad", "can be undone", false).await;
    browser.fill("#name", "shop").await;
    browser.click("form.card button").await;
    browser.until("h1", "Servers", false).await;
    browser.client.goto(&format!("{portal}servers/shop")).await.unwrap();
    browser.until(".lead", "It is deleted at", false).await;
    browser.click("form:has([value=undelete]) button").await;
    browser.until("main", "Pause backups", false).await;
    browser.end().await;
}

/// What has no name for a screen reader, and what there is twice or not at all.
const UNTOLD: &str = r#"
const wrong = [];
for (const field of document.querySelectorAll('input:not([type=hidden]), select')) if (!field.labels.length) wrong.push(field.outerHTML);
for (const picture of document.querySelectorAll('svg')) if (!picture.getAttribute('aria-label')) wrong.push('a picture');
for (const button of document.querySelectorAll('button, a')) if (!button.textContent.trim()) wrong.push(button.outerHTML);
for (const one of ['h1', 'main', 'head > title', 'html[lang]']) if (document.querySelectorAll(one).length !== 1) wrong.push(one);
return wrong;
"#;
