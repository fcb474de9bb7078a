//! Users, their tokens and sessions, the audit log, and what ends when somebody is not let in any more.

use axum::body::Body;
use holdpoint_model::{Role, Scopes, Share, TokenScope};
use holdpoint_web::password_hash;
use http::{Request, header};
use http_body_util::BodyExt as _;
use rstest::rstest;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{Answer, World, person, seed::Seed, urlencoded};

async fn send(world: &World, method: &str, path: &str, token: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("request");
    world.send(request).await
}

/// A form of somebody who is not signed in.
async fn anonymous(world: &World, path: &str, fields: &[(&str, &str)]) -> Answer {
    let request = Request::post(path)
        .header("sec-fetch-site", "same-origin")
        .header(header::USER_AGENT, "Lynx/2.9")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(urlencoded(fields)))
        .expect("request");
    world.send(request).await
}

fn cookie_of(answer: &Answer) -> String {
    answer.header(header::SET_COOKIE).split(';').next().expect("cookie").to_owned()
}

/// An admin who can sign in, with a token.
async fn admin(world: &World) -> (holdpoint_model::UserId, String) {
    let (id, token) = world.user("root", Role::Admin).await;
    let hash = password_hash("correct horse").expect("hash");
    world.store.set_password(id, Some(hash), person(id, "root").into()).await.expect("password");
    (id, token)
}

#[tokio::test]
async fn a_user_is_made_comes_in_by_the_link_changes_and_is_out() {
    let world = World::new().await;
    let (_, root) = admin(&world).await;
    let made = send(&world, "POST", "/v1/users", &root, &json!({"name": " Ada ", "role": "asker"})).await;
    let made = made.expect(201).json();
    assert_eq!(
        (&made["name"], &made["role"], &made["has_password"]),
        (&json!("Ada"), &json!("asker"), &json!(false))
    );
    let link = made["url"].as_str().expect("url").trim_start_matches("http://holdpoint.test").to_owned();
    let secret = link.split_once("token=").expect("token").1;
    let page = world.page(&link, "").await.expect(200);
    assert!(page.text().contains("You sign in as <strong>Ada</strong>"), "{}", page.text());
    let wrong = [("token", secret), ("password", "correct horse"), ("again", "other horse")];
    anonymous(&world, "/welcome", &wrong).await.expect(422);
    // Whatever name is sent: the link is for this user.
    let fields =
        [("token", secret), ("name", "root"), ("password", "battery staple"), ("again", "battery staple")];
    let inside = anonymous(&world, "/welcome", &fields).await.expect(303);
    let cookie = cookie_of(&inside);
    world.page("/account", &cookie).await.expect(200);
    anonymous(&world, "/welcome", &fields).await.expect(410);

    let at = format!("/v1/users/{}", made["id"].as_str().expect("id"));
    for (change, status) in [
        (json!({"name": "ROOT"}), 409),
        (json!({"name": "a\u{7}b"}), 422),
        (json!({"role": "boss"}), 422),
        (json!({"color": "red"}), 422),
        (json!({"name": "Ada L.", "role": "viewer"}), 200),
    ] {
        send(&world, "PATCH", &at, &root, &change).await.expect(status);
    }
    let start = world.page("/agents/claude", &cookie).await.expect(403);
    assert!(start.text().contains("A viewer may not start"), "the new role counts at once: {}", start.text());
    send(&world, "PATCH", &at, &root, &json!({"active": false})).await.expect(200);
    world.page("/account", &cookie).await.expect(303);
    let fields = [("name", "Ada L."), ("password", "battery staple")];
    anonymous(&world, "/login", &fields).await.expect(401);
    send(&world, "POST", &format!("{at}/link"), &root, &json!({})).await.expect(409);
    send(&world, "PATCH", &at, &root, &json!({"active": true})).await.expect(200);
    anonymous(&world, "/login", &fields).await.expect(303);
}

#[tokio::test]
async fn a_link_of_a_deactivated_user_lets_nobody_in() {
    let world = World::new().await;
    let (_, root) = admin(&world).await;
    let made =
        send(&world, "POST", "/v1/users", &root, &json!({"name": "ada", "role": "admin"})).await.json();
    let at = format!("/v1/users/{}", made["id"].as_str().expect("id"));
    send(&world, "PATCH", &at, &root, &json!({"active": false})).await.expect(200);
    let secret = made["url"].as_str().expect("url").split_once("token=").expect("token").1;
    let fields = [("token", secret), ("password", "battery staple"), ("again", "battery staple")];
    anonymous(&world, "/welcome", &fields).await.expect(410);
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let world = World::new().await;
    let (id, root) = admin(&world).await;
    let at = format!("/v1/users/{id}");
    for change in [json!({"active": false}), json!({"role": "operator"})] {
        let problem = send(&world, "PATCH", &at, &root, &change).await.expect(409).problem();
        assert_eq!(problem["code"], "last_admin");
    }
    let cookie = world.cookie(id).await;
    let page = world.form(&format!("/people/{id}"), &cookie, &[("active", "no")]).await.expect(409);
    assert!(page.text().contains("data-problem=\"last_admin\""), "{}", page.text());
    world.get("/v1/me", &root).await.expect(200);
}

/// Of a token nothing is above its owner's role, whoever asks for it.
#[rstest]
#[case(Role::Admin, json!(["admin", "operate", "start", "decide"]), 201)]
#[case(Role::Operator, json!(["operate"]), 201)]
#[case(Role::Operator, json!(["admin"]), 422)]
#[case(Role::Approver, json!(["start", "decide"]), 201)]
#[case(Role::Approver, json!(["operate"]), 422)]
#[case(Role::Asker, json!(["start", "decide"]), 201)]
#[case(Role::Viewer, json!([]), 201)]
#[case(Role::Viewer, json!(["decide"]), 422)]
#[tokio::test]
async fn a_token_is_never_above_its_owner(#[case] role: Role, #[case] scopes: Value, #[case] status: u16) {
    let world = World::new().await;
    let (_, root) = admin(&world).await;
    let (user, _) = world.user("me", role).await;
    let at = format!("/v1/users/{user}/tokens");
    let answer =
        send(&world, "POST", &at, &root, &json!({"name": "ci", "scopes": scopes})).await.expect(status);
    if status == 201 {
        let made = answer.json();
        assert!(made["scopes"].as_array().expect("scopes").contains(&json!("read")), "{made}");
        assert!(made["expires_at"].is_string(), "ends by itself: {made}");
        let token = made["token"].as_str().expect("token");
        world.get("/v1/me", token).await.expect(200);
        let listed = world.get(&at, &root).await.expect(200);
        assert!(!listed.text().contains(token), "shown once");
        let id = made["id"].as_str().expect("id");
        send(&world, "DELETE", &format!("/v1/tokens/{id}"), &root, &json!({})).await.expect(204);
        world.get("/v1/me", token).await.expect(401);
    }
    // What was made before somebody could do less does less with them.
    let owner = world.store.user(user).await.expect("read").expect("user");
    let all = world.token(&owner, "all of it", Scopes::all()).await;
    let status = if role == Role::Admin { 200 } else { 403 };
    world.get("/v1/users", &all).await.expect(status);
}

#[tokio::test]
async fn a_token_makes_no_other_unless_it_is_an_administrators() {
    let world = World::new().await;
    let (_, root) = admin(&world).await;
    let (user, token) = world.user("me", Role::Operator).await;
    let body = json!({"name": "more", "expires": "forever"});
    for at in ["/v1/users/me/tokens".to_owned(), format!("/v1/users/{user}/tokens")] {
        send(&world, "POST", &at, &token, &body).await.expect(403);
        world.get(&at, &token).await.expect(403);
    }
    let root_user = world.store.user_by_name("root").await.expect("read").expect("root");
    let narrow = world.token(&root_user, "narrow", Scopes::of([TokenScope::Operate])).await;
    send(&world, "POST", "/v1/users/me/tokens", &narrow, &body).await.expect(403);
    let made = send(&world, "POST", "/v1/users/me/tokens", &root, &body).await.expect(201).json();
    assert_eq!(made["expires_at"], json!(null));
    for bad in [
        json!({"name": "x", "expires": "soon"}),
        json!({"name": "x", "scopes": ["fly"]}),
        json!({"name": ""}),
    ] {
        send(&world, "POST", "/v1/users/me/tokens", &root, &bad).await.expect(422);
    }
}

#[tokio::test]
async fn ones_own_account_is_looked_after_in_the_browser() {
    let world = World::new().await;
    let hash = password_hash("correct horse").expect("hash");
    let ada = world.store.create_user("ada", Role::Asker, Some(hash)).await.expect("user");
    let other = world.user("other", Role::Asker).await.0;
    let fields = [("name", "ada"), ("password", "correct horse")];
    let cookie = cookie_of(&anonymous(&world, "/login", &fields).await.expect(303));
    let second = cookie_of(&anonymous(&world, "/login", &fields).await.expect(303));
    let page = world.page("/account", &cookie).await.expect(200);
    assert!(page.text().contains("Lynx/2.9") && page.text().contains("this browser"), "{}", page.text());

    let at = format!("/people/{}", ada.id);
    let token = [("name", "phone"), ("scope", "decide"), ("expires", "7d")];
    let shown = world.form(&format!("{at}/tokens"), &cookie, &token).await.expect(200);
    let secret = shown.text().split_once("<pre class=\"command\">").expect("shown").1;
    let secret = secret.split_once('<').expect("end").0.to_owned();
    let me = world.get("/v1/me", &secret).await.expect(200).json();
    assert_eq!((&me["name"], &me["may"]["start"]), (&json!("ada"), &json!(false)), "it was made for less");
    let made = &world.store.tokens(ada.id).await.expect("tokens")[0];
    let token_id = made.id.to_string();
    // Not with what is another's.
    for path in ["tokens", "tokens/revoke", "sessions/end"] {
        world.form(&format!("/people/{other}/{path}"), &cookie, &[("token", &token_id)]).await.expect(403);
    }
    world.form(&format!("{at}/tokens/revoke"), &cookie, &[("token", &token_id)]).await.expect(303);
    world.get("/v1/me", &secret).await.expect(401);

    let change =
        |old: &'static str| [("old", old), ("password", "battery staple"), ("again", "battery staple")];
    world.form("/account/password", &cookie, &change("wrong horse")).await.expect(422);
    let changed = world.form("/account/password", &cookie, &change("correct horse")).await.expect(303);
    world.page("/account", &second).await.expect(303);
    world.page("/account", &cookie).await.expect(303);
    let cookie = cookie_of(&changed);
    world.page("/account", &cookie).await.expect(200);
    for _ in 0..5 {
        world.form("/account/password", &cookie, &change("wrong horse")).await.expect(422);
    }
    world.form("/account/password", &cookie, &change("battery staple")).await.expect(429);
    world.form(&format!("{at}/sessions/end"), &cookie, &[]).await.expect(303);
    world.page("/account", &cookie).await.expect(303);
}

#[tokio::test]
async fn the_audit_log_says_who_did_what() {
    let world = World::new().await;
    let (id, root) = admin(&world).await;
    anonymous(&world, "/login", &[("name", "<b>eve</b>"), ("password", "x")]).await.expect(401);
    anonymous(&world, "/login", &[("name", "root"), ("password", "correct horse")]).await.expect(303);
    let mut seed = Seed::create(&world.store, &person(id, "root"), "Work", "Work").await;
    seed.work().await;
    let share = json!({"name": "ADA", "share": "look"});
    let at = format!("/v1/executions/{}/shares", seed.id);
    send(&world, "POST", &at, &root, &share).await.expect(422);
    let (ada, _) = world.user("ada", Role::Asker).await;
    let shared = send(&world, "POST", &at, &root, &share).await.expect(200).json();
    assert_eq!(shared["items"][0]["name"], "ada");
    send(&world, "POST", &at, &root, &json!({"name": "root", "share": "look"})).await.expect(422);
    send(&world, "DELETE", &format!("{at}/{ada}"), &root, &json!({})).await.expect(204);
    let exec = json!({"command": ["echo", "hi"]});
    send(&world, "POST", &format!("/v1/executions/{}/exec", seed.id), &root, &exec).await.expect(200);
    let page = world.get("/v1/audit?limit=3", &root).await.expect(200).json();
    let kinds = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("items");
        items.iter().map(|line| line["kind"].as_str().expect("kind").to_owned()).collect()
    };
    assert_eq!(kinds(&page), ["exec", "unshared", "shared"]);
    assert_eq!(page["items"][0]["detail"], "echo hi");
    assert_eq!(
        (&page["items"][1]["subject_name"], &page["items"][1]["by"]["name"]),
        (&json!("ada"), &json!("root"))
    );
    let rest = world.get(&format!("/v1/audit?cursor={}", page["next"]), &root).await.expect(200).json();
    for kind in ["sign_in_failed", "signed_in", "password_set", "token_created", "user_created"] {
        assert!(kinds(&rest).iter().any(|one| one == kind), "{kind}: {rest}");
    }
    world.get("/v1/audit?kind=flew", &root).await.expect(422).problem();
    let cookie = world.cookie(id).await;
    let page = world.page("/people/audit?kind=sign_in_failed", &cookie).await.expect(200);
    assert!(
        page.text().contains("&lt;b&gt;eve&lt;/b&gt;") && !page.text().contains("<b>eve"),
        "{}",
        page.text()
    );
}

/// Streams end when whoever opened them is not let in, or may not see it, any more: of themselves, and not
/// because something happened in the conversation.
#[rstest]
#[case("deactivate")]
#[case("role")]
#[case("unshare")]
#[case("token")]
#[case("sign out")]
#[tokio::test]
async fn what_is_open_ends(#[case] how: &str) {
    let world = World::new().await;
    let (root, _) = admin(&world).await;
    let (me, token) = world.user("me", Role::Asker).await;
    let cookie = world.cookie(me).await;
    let seed = Seed::create(&world.store, &person(root, "root"), "Work", "Work").await;
    let by = || person(root, "root").into();
    world.store.set_share(seed.id, me, Share::Look, by()).await.expect("share");
    let open = async |path: String, name: &str, value: String| {
        let request = Request::get(path).header(name, value).header(header::ACCEPT, "text/event-stream");
        let answer = world.router.clone().oneshot(request.body(Body::empty()).expect("request")).await;
        let answer = answer.expect("infallible");
        assert_eq!(answer.status(), 200);
        answer.into_body()
    };
    let bearer = format!("Bearer {token}");
    let by_token = open(format!("/v1/executions/{}/events", seed.id), "authorization", bearer).await;
    let by_cookie = open(format!("/executions/{}/live", seed.id), "cookie", cookie.clone()).await;
    let pulse = open("/pulse".to_owned(), "cookie", cookie.clone()).await;
    let change = |role, active| holdpoint_store::UserChange { name: None, role, active };
    let (token_ends, cookie_ends, pulse_ends) = match how {
        "deactivate" => {
            world.store.change_user(me, change(None, Some(false)), by()).await.expect("change");
            (true, true, true)
        }
        "role" => {
            world.store.change_user(me, change(Some(Role::Viewer), None), by()).await.expect("change");
            (true, true, true)
        }
        "unshare" => {
            world.store.unshare(seed.id, me, by()).await.expect("unshare");
            (true, true, false)
        }
        "token" => {
            let id = world.store.tokens(me).await.expect("tokens")[0].id;
            world.store.delete_token(id, by()).await.expect("delete");
            (true, false, false)
        }
        _ => {
            world.form("/logout", &cookie, &[]).await.expect(303);
            (false, true, true)
        }
    };
    for (body, ends) in [(by_token, token_ends), (by_cookie, cookie_ends), (pulse, pulse_ends)] {
        if ends {
            // A stream that goes on never comes to its end.
            body.collect().await.expect("ended");
        }
    }
    // The others go on until the server ends.
    world.closing.cancel();
}
