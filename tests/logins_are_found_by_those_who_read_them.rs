use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use k8s_openapi::jiff::SignedDuration;
use serde_json::json;

use support::consumers::passwords;
use support::fixtures::{ACCOUNT, ecr_spec, role_arn, with};
use support::root;
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::{StrictAws, open_role};
use support::world::{World, value};

const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

/// A row of the table of docs/consumers.md that says who finds which key: the URL, and for each program how it matches.
struct Row {
    url: String,
    matching: BTreeMap<String, String>,
}

fn table(document: &Path) -> Vec<Row> {
    let text = fs::read_to_string(document).unwrap();
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_matches('|');
        line.split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect()
    };
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with("| `ecrRepositoryUrl` |"));
    let head = cells(lines.next().expect("a table of URLs"));
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    let row = |line| {
        let row = cells(line);
        Row {
            url: row[0].replace("<host>", HOST),
            matching: head.iter().cloned().zip(row).skip(1).collect(),
        }
    };
    rows.map(row).collect()
}

/// Whether a program that matches in that way finds a login for a repository.
fn finds(matching: &str, repository: &str) -> bool {
    match matching {
        "host" => true,
        "prefix" => repository.starts_with("team/app"),
        "path" => repository == "team/app" || repository.starts_with("team/app/"),
        other => panic!("{other} is no way to match"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_is_found_by_those_that_the_table_says() {
    let mut world = World::without_operator().await;
    let aws = StrictAws::new(clock(SignedDuration::ZERO));
    let server = HttpServer::start(aws.clone()).await;
    world.run_operator(&world.operator_command_for(server.url()));
    let rows = table(&root().join("docs/consumers.md"));
    assert!(rows.len() >= 10, "{} rows", rows.len());
    for (number, row) in rows.iter().enumerate() {
        let name = format!("login-{number}");
        aws.add_role(&role_arn(&name), open_role());
        let spec = with(ecr_spec(&name), &json!({"ecrRepositoryUrl": row.url}));
        world.apply(&name, &spec).unwrap();
    }
    let repositories = ["team/app", "team/app/base", "team/app2", "team/other", "team"];
    let mut images: Vec<_> = repositories.iter().map(|name| format!("{HOST}/{name}:1.0")).collect();
    // The same registry under its dual-stack name, and another one: to be found by nobody.
    images.push("123456789012.dkr-ecr.eu-west-1.on.aws/team/app:1.0".to_owned());
    images.push("210987654321.dkr.ecr.eu-west-1.amazonaws.com/team/app:1.0".to_owned());
    for (number, row) in rows.iter().enumerate() {
        let name = format!("login-{number}");
        world.ready(&name).await;
        let config = value(&world.secret(&name).await.unwrap(), ".dockerconfigjson");
        let found = passwords(&config, &images);
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            row.matching.keys().collect::<Vec<_>>(),
            "the programs of the table"
        );
        for (program, passwords) in &found {
            for (password, image) in passwords.iter().zip(&images) {
                let repository = repositories.iter().find(|name| *image == format!("{HOST}/{name}:1.0"));
                let expected = repository.is_some_and(|repository| finds(&row.matching[program], repository));
                assert_eq!(!password.is_empty(), expected, "{}: {program} and {image}", row.url);
            }
            // What the URL means is found by all, and opened by what is found.
            for (password, repository) in passwords.iter().zip(["team/app", "team/app/base"]) {
                let arn = format!("arn:aws:ecr:eu-west-1:{ACCOUNT}:repository/{repository}");
                assert!(
                    aws.token_allows(password, "ecr:BatchGetImage", &arn),
                    "{}: {program}",
                    row.url
                );
            }
        }
    }
}
