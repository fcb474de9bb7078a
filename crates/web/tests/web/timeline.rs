//! The timeline: what is found, and how it goes on.

use holdpoint_model::{Role, Share};
use http::header;

use crate::support::{World, person, seed::Seed, urlencoded};

fn titles(page: &str) -> Vec<&str> {
    let parts = page.split("class=\"row-title\">").skip(1);
    parts.filter_map(|part| part.split('<').next()).collect()
}

async fn asked(world: &World, cookie: &str, q: &str) -> Vec<String> {
    let page = world.page(&format!("/executions?{}", urlencoded(&[("q", q)])), cookie).await.expect(200);
    titles(page.text()).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_was_asked_and_what_came_of_it_is_found() {
    let world = World::new().await;
    let (ada, token) = world.user("ada", Role::Operator).await;
    let (lin, lins_token) = world.user("lin", Role::Asker).await;
    let (cookie, lins) = (world.cookie(ada).await, world.cookie(lin).await);
    let mut lease =
        Seed::create(&world.store, &person(ada, "ada"), "Lease", "Read the lease of Globex").await;
    lease.work().await;
    lease.turn_ended("The rent is capped.").await;
    let pump = Seed::create(&world.store, &person(lin, "lin"), "Pump", "The pump rattles").await;

    let questions: [(&str, &[&str]); 8] = [
        ("globex", &["Lease"]),
        ("result:cap", &["Lease"]),
        ("author:lin", &["Pump"]),
        ("the", &["Pump", "Lease"]),
        ("\"the pump\"", &["Pump"]),
        ("status:awaiting", &["Lease"]),
        ("nothing like that", &[]),
        ("\"( OR * NEAR(", &[]),
    ];
    for (q, expected) in questions {
        assert_eq!(asked(&world, &cookie, q).await, expected, "{q}");
    }
    assert_eq!(asked(&world, &lins, "the").await, ["Pump"], "nobody finds what they may not see");
    let by_api = world.get("/v1/executions?q=globex", &token).await.expect(200).json();
    assert_eq!(by_api["items"][0]["title"], "Lease");
    assert_eq!(by_api["items"].as_array().map(Vec::len), Some(1));
    let hidden = world.get("/v1/executions?q=globex", &lins_token).await.expect(200).json();
    assert_eq!(hidden["items"].as_array().map(Vec::len), Some(0));
    world.store.set_share(lease.id, lin, Share::Look, person(ada, "ada").into()).await.expect("share");
    assert_eq!(asked(&world, &lins, "globex").await, ["Lease"], "what is shared is found");
    let list = world.get("/timeline/list?q=rattl", &token).await.expect(200).json();
    assert_eq!(list["items"][0]["fid"], pump.id.to_string());

    let page = world.page("/executions?q=%3Cscript%3E+none", &cookie).await.expect(200);
    assert!(page.text().contains("value=\"&lt;script&gt; none\"") && page.text().contains("id=\"empty\""));
}

/// Without a script there is a link; with one, the same page is what is put below.
#[tokio::test]
async fn older_ones_are_behind_a_link() {
    let world = World::new().await;
    let (ada, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(ada).await;
    for n in 0..120 {
        Seed::create(&world.store, &person(ada, "ada"), &format!("Errand {n}"), "Run").await;
    }
    let mut address = "/executions?q=errand".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = world.page(&address, &cookie).await.expect(200);
        let text = page.text();
        seen.extend(titles(text).into_iter().map(str::to_owned));
        let Some(link) = text.split("id=\"more\"").nth(1) else { break };
        let href = link.split("href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a link");
        address = href.replace("&amp;", "&");
        assert!(seen.len() < 200, "the pages have no end");
    }
    let expected: Vec<String> = (0..120).rev().map(|n| format!("Errand {n}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_page_that_is_none_is_refused_in_words() {
    let world = World::new().await;
    let (ada, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(ada).await;
    let refused = world.page("/executions?cursor=x", &cookie).await.expect(422);
    assert!(refused.header(header::CONTENT_TYPE).starts_with("text/html"));
    let long = world.page(&format!("/executions?q={}", "a+".repeat(3_000)), &cookie).await;
    assert_eq!(long.status, 200);
}
