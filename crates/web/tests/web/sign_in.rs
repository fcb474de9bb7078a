//! Coming in: links, passwords, sessions; and what another site cannot make a browser do.

use axum::body::Body;
use holdpoint_model::Role;
use holdpoint_store::LinkUse;
use holdpoint_web::{INVITATION, hash_token, password_hash};
use http::{Request, header};
use serde_json::json;

use crate::support::{Answer, World, person, seed::Seed, urlencoded};

async fn anonymous_form(world: &World, path: &str, fields: &[(&str, &str)]) -> Answer {
    let request = Request::post(path)
        .header("sec-fetch-site", "same-origin")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(urlencoded(fields)))
        .expect("request");
    world.send(request).await
}

#[tokio::test]
async fn the_first_admin_comes_in_by_a_link_once() {
    let world = World::new().await;
    world.store.create_link(hash_token("secret"), INVITATION, i64::MAX).await.expect("link");
    let fields = |name: &'static str, password: &'static str, again: &'static str| {
        [("token", "secret"), ("name", name), ("password", password), ("again", again)]
    };
    for _ in 0..3 {
        let page = world.page("/welcome?token=secret", "").await.expect(200);
        assert!(page.text().contains("id=\"welcome\""), "looking does not use the link up");
    }
    for wrong in [
        fields("ada", "short", "short"),
        fields("ada", "correct horse", "correct house"),
        fields(" ", "correct horse", "correct horse"),
    ] {
        anonymous_form(&world, "/welcome", &wrong).await.expect(422);
    }
    let good = fields("ada", "correct horse", "correct horse");
    let other = fields("eve", "correct horse", "correct horse");
    let (first, second) =
        tokio::join!(anonymous_form(&world, "/welcome", &good), anonymous_form(&world, "/welcome", &other));
    let statuses = [first.status.as_u16(), second.status.as_u16()];
    assert!(statuses == [303, 410] || statuses == [410, 303], "exactly one comes in: {statuses:?}");
    let (accepted, refused) = if statuses[0] == 303 { (first, second) } else { (second, first) };
    assert!(refused.text().contains("holdpoint token link"), "{}", refused.text());
    let cookie = accepted.header(header::SET_COOKIE).to_owned();
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(flag), "{flag} in {cookie}");
    }
    assert!(!cookie.contains("Secure"), "plain HTTP: {cookie}");
    let session = cookie.split(';').next().expect("cookie");
    world.page("/", session).await.expect(200);
    assert_eq!(world.store.users().await.expect("users")[0].role, Role::Admin);
    assert_eq!(world.store.consume_link(hash_token("secret"), 0).await.expect("link"), LinkUse::Used);
    let used = world.page("/welcome?token=secret", "").await.expect(410);
    assert!(used.text().contains("used before"), "{}", used.text());
    let unknown =
        [("token", "other"), ("name", "bob"), ("password", "correct horse"), ("again", "correct horse")];
    anonymous_form(&world, "/welcome", &unknown).await.expect(410);
    world.page("/welcome", "").await.expect(410);
}

#[tokio::test]
async fn signing_in_and_out() {
    let world = World::with("https://holdpoint.test", false).await;
    let hash = password_hash("correct horse").expect("hash");
    world.store.create_user("Ada", Role::Asker, Some(hash)).await.expect("user");
    world.store.create_user("robot", Role::Asker, None).await.expect("user");

    let away = world.page("/executions?status=awaiting", "").await.expect(303);
    assert_eq!(away.header(header::LOCATION), "/login?next=/executions%3Fstatus%3Dawaiting");
    let form = world.page(away.header(header::LOCATION), "").await.expect(200);
    assert!(form.text().contains("value=\"/executions?status=awaiting\""), "{}", form.text());

    let wrong = anonymous_form(&world, "/login", &[("name", "ada"), ("password", "wrong horse!")]).await;
    assert!(wrong.expect(401).text().contains("role=\"alert\""));
    anonymous_form(&world, "/login", &[("name", "nobody"), ("password", "correct horse")]).await.expect(401);
    anonymous_form(&world, "/login", &[("name", "robot"), ("password", "")]).await.expect(401);

    let fields = [("name", "ada"), ("password", "correct horse"), ("next", "//evil.example")];
    let inside = anonymous_form(&world, "/login", &fields).await.expect(303);
    assert_eq!(inside.header(header::LOCATION), "/", "nobody is sent elsewhere");
    let cookie = inside.header(header::SET_COOKIE).to_owned();
    assert!(cookie.starts_with("__Host-holdpoint_session_443="), "{cookie}");
    assert!(cookie.contains("; Secure"), "{cookie}");
    let session = cookie.split(';').next().expect("cookie").to_owned();
    world.page("/inbox", &session).await.expect(200);
    world.page("/login", &session).await.expect(303);

    let out = world.form("/logout", &session, &[]).await.expect(303);
    assert!(out.header(header::SET_COOKIE).contains("Max-Age=0"));
    world.page("/inbox", &session).await.expect(303);
}

#[tokio::test]
async fn guessing_passwords_gets_slow() {
    let world = World::new().await;
    let hash = password_hash("correct horse").expect("hash");
    world.store.create_user("ada", Role::Asker, Some(hash)).await.expect("user");
    let guess = || anonymous_form(&world, "/login", &[("name", "ada"), ("password", "wrong horse!")]);
    for _ in 0..5 {
        guess().await.expect(401);
    }
    let paused = guess().await.expect(429);
    assert!(paused.header(header::RETRY_AFTER).parse::<u32>().expect("seconds") > 0);
    // The right password does not help in the pause either.
    anonymous_form(&world, "/login", &[("name", "ada"), ("password", "correct horse")]).await.expect(429);
    anonymous_form(&world, "/login", &[("name", "bob"), ("password", "x")]).await.expect(401);
}

#[tokio::test]
async fn without_a_good_link_nobody_learns_a_name() {
    let world = World::new().await;
    world.user("ada", Role::Admin).await;
    world.store.create_link(hash_token("old"), INVITATION, 1).await.expect("link");
    world.store.create_link(hash_token("other"), "something else", i64::MAX).await.expect("link");
    for token in ["unknown", "old", "other"] {
        for name in ["ada", "nobody", ""] {
            let fields = [("token", token), ("name", name), ("password", "correct horse"), ("again", "x")];
            let answer = anonymous_form(&world, "/welcome", &fields).await.expect(410);
            assert!(answer.text().contains("data-problem=\"link_no_good\""), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn strangers_send_short_forms() {
    let world = World::new().await;
    let long = "x".repeat(17 * 1024);
    for path in ["/login", "/welcome", "/logout"] {
        let answer = anonymous_form(&world, path, &[("name", &long)]).await.expect(413);
        assert!(answer.text().contains("at most 16 KiB"), "{}", answer.text());
    }
    anonymous_form(&world, "/login", &[("name", &long[..15 * 1024])]).await.expect(401);
}

#[tokio::test]
async fn two_on_one_host_do_not_sign_each_other_out() {
    let first = World::with("http://localhost:3370", false).await;
    let second = World::with("http://localhost:3371", false).await;
    let mut jar = Vec::new();
    for world in [&first, &second] {
        world.store.create_link(hash_token("secret"), INVITATION, i64::MAX).await.expect("link");
        let fields =
            [("token", "secret"), ("name", "ada"), ("password", "correct horse"), ("again", "correct horse")];
        let inside = anonymous_form(world, "/welcome", &fields).await.expect(303);
        let cookie = inside.header(header::SET_COOKIE).split(';').next().expect("cookie").to_owned();
        let name = cookie.split('=').next().expect("name").to_owned();
        // As a browser does: one of a name takes the place of the one before.
        jar.retain(|old: &String| !old.starts_with(&format!("{name}=")));
        jar.push(cookie);
    }
    let cookies = jar.join("; ");
    first.page("/inbox", &cookies).await.expect(200);
    second.page("/inbox", &cookies).await.expect(200);
}

#[tokio::test]
async fn another_site_cannot_act() {
    let world = World::new().await;
    let (user, _) = world.user("ada", Role::Admin).await;
    let cookie = world.cookie(user).await;
    let mut seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    seed.work().await;
    let hold = seed.ask("toolu_1", "Bash", json!({"command": "touch a"})).await;
    let cancel = format!("/executions/{}/cancel", seed.id);
    let api_cancel = format!("/v1/executions/{}/cancel", seed.id);
    let decision = format!("/v1/holds/{hold}/decision");
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        for (path, kind, body) in [
            (&cancel, "application/x-www-form-urlencoded", ""),
            (&api_cancel, "application/json", ""),
            (&decision, "application/json", "{\"action\":\"allow\"}"),
        ] {
            let request = Request::post(path)
                .header(header::COOKIE, &cookie)
                .header(header::HOST, "holdpoint.test")
                .header(name, value)
                .header(header::CONTENT_TYPE, kind)
                .body(Body::from(body))
                .expect("request");
            world.send(request).await.expect(403);
        }
        let login = Request::post("/login")
            .header(name, value)
            .header(header::HOST, "holdpoint.test")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from("name=ada&password=x"))
            .expect("request");
        world.send(login).await.expect(403);
    }
    // Where our script sent the form it is told why; without one the answer is a page.
    for (script, kind) in [(true, "application/problem+json"), (false, "text/html; charset=utf-8")] {
        let mut request = Request::post(&cancel)
            .header(header::COOKIE, &cookie)
            .header(header::HOST, "holdpoint.test")
            .header("sec-fetch-site", "cross-site")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if script {
            request = request.header("x-requested-with", "holdpoint");
        }
        let refused = world.send(request.body(Body::empty()).expect("request")).await.expect(403);
        assert_eq!(refused.header(header::CONTENT_TYPE), kind);
        assert!(refused.text().contains("cross_site"), "{}", refused.text());
    }
    let execution = world.store.execution(seed.id).await.expect("read").expect("execution");
    assert!(!execution.status.is_final());
    let own = Request::post(&cancel)
        .header(header::COOKIE, &cookie)
        .header(header::HOST, "holdpoint.test")
        .header(header::ORIGIN, "http://holdpoint.test")
        .body(Body::empty())
        .expect("request");
    world.send(own).await.expect(303);
}

#[tokio::test]
async fn a_link_from_elsewhere_takes_one_step_more() {
    let world = World::new().await;
    let request = Request::get("/inbox")
        .header("sec-fetch-site", "cross-site")
        .header("sec-fetch-mode", "navigate")
        .body(Body::empty())
        .expect("request");
    let bounce = world.send(request).await.expect(200);
    assert!(bounce.text().contains("content=\"0;url=/inbox\""), "{}", bounce.text());
}
