//! https://shopify.dev/docs/api/admin-graphql, version 2026-07.

use serde_json::{Value, json};

use super::wire::{App, Exchange, Gives, Owed};

const PATH: &str = "/admin/api/2026-07/graphql.json";

pub fn app() -> App {
    const KEY: &str = "shpat_0123456789abcdef0123456789abcdef";
    App {
        slug: "shopify",
        method: "token",
        key: KEY,
        inputs: &[("shop", "acme")],
        hosts: &["acme.myshopify.com"],
        headers: vec![("x-shopify-access-token", KEY.to_owned())],
        test: Exchange::text("POST", PATH, "application/json", r#"{"query":"{ shop { id name } }"}"#)
            .answers(200, json!({"data": {"shop": {"id": "gid://shopify/Shop/1", "name": "Acme"}}})),
    }
}

fn graphql(query: &str, variables: Value) -> Exchange {
    let body = match variables {
        Value::Null => json!({"query": query}),
        variables => json!({"query": query, "variables": variables}),
    };
    Exchange::post(PATH, body)
}

fn page(field: &str, nodes: Value, next: Option<&str>) -> Value {
    json!({"data": {field: {"nodes": nodes, "pageInfo": {"hasNextPage": next.is_some(), "endCursor": next}}}})
}

const SHOP: &str = "{ shop { id name email myshopifyDomain primaryDomain { url } currencyCode ianaTimezone \
                    plan { publicDisplayName } } }";
const PRODUCTS: &str = "query ($search: String, $after: String) { products(first: 100, after: $after, \
                        query: $search) { nodes { id title handle status vendor productType tags totalInventory \
                        createdAt updatedAt } pageInfo { hasNextPage endCursor } } }";
const CREATE: &str = "mutation ($product: ProductCreateInput!) { productCreate(product: $product) { product { id \
                      title handle status } userErrors { field message } } }";
const UPDATE: &str = "mutation ($product: ProductUpdateInput!) { productUpdate(product: $product) { product { id \
                      title handle status } userErrors { field message } } }";
const ORDERS: &str = "query ($search: String, $after: String) { orders(first: 100, after: $after, query: $search, \
                      sortKey: CREATED_AT, reverse: true) { nodes { id name createdAt displayFinancialStatus \
                      displayFulfillmentStatus tags totalPriceSet { shopMoney { amount currencyCode } } } pageInfo { \
                      hasNextPage endCursor } } }";
const CUSTOMERS: &str = "query ($search: String, $after: String) { customers(first: 100, after: $after, \
                         query: $search) { nodes { id displayName numberOfOrders defaultEmailAddress { \
                         emailAddress } tags createdAt } pageInfo { hasNextPage endCursor } } }";

pub fn owed() -> Vec<Owed> {
    let product = json!({"id": "gid://shopify/Product/1", "title": "Tent", "handle": "tent", "status": "DRAFT"});
    let made = |field: &str| json!({"data": {field: {"product": product, "userErrors": []}}});
    vec![
        Owed {
            action: "shopify/get-shop",
            props: json!({}),
            sends: vec![graphql(SHOP, Value::Null).answers(200, json!({"data": {"shop": {"name": "Acme"}}}))],
            gives: Gives::Value(json!({"name": "Acme"})),
        },
        // The cursor goes among the variables, which the first request does not have.
        Owed {
            action: "shopify/list-products",
            props: json!({}),
            sends: vec![
                graphql(PRODUCTS, Value::Null).answers(200, page("products", json!([{"id": 1}]), Some("c1"))),
                graphql(PRODUCTS, json!({"after": "c1"})).answers(200, page("products", json!([{"id": 2}]), None)),
            ],
            gives: Gives::Value(json!([{"id": 1}, {"id": 2}])),
        },
        Owed {
            action: "shopify/list-products",
            props: json!({"search": "status:active AND vendor:\"A\""}),
            sends: vec![
                graphql(PRODUCTS, json!({"search": "status:active AND vendor:\"A\""}))
                    .answers(200, page("products", json!([]), None)),
            ],
            gives: Gives::Value(json!([])),
        },
        Owed {
            action: "shopify/create-product",
            props: json!({"title": "Tent", "description": "<b>", "vendor": "Acme", "product_type": "Camping",
                          "tags": ["new", "sale"]}),
            sends: vec![
                graphql(
                    CREATE,
                    json!({"product": {"title": "Tent", "descriptionHtml": "<b>", "vendor": "Acme",
                           "productType": "Camping", "tags": ["new", "sale"], "status": "DRAFT"}}),
                )
                .answers(200, made("productCreate")),
            ],
            gives: Gives::Value(product.clone()),
        },
        Owed {
            action: "shopify/update-product",
            props: json!({"id": "gid://shopify/Product/1", "status": "ACTIVE", "tags": []}),
            sends: vec![
                graphql(UPDATE, json!({"product": {"id": "gid://shopify/Product/1", "status": "ACTIVE", "tags": []}}))
                    .answers(200, made("productUpdate")),
            ],
            gives: Gives::Value(product.clone()),
        },
        Owed {
            action: "shopify/list-orders",
            props: json!({"search": "financial_status:paid"}),
            sends: vec![
                graphql(ORDERS, json!({"search": "financial_status:paid"}))
                    .answers(200, page("orders", json!([{"id": 1}]), Some("c1"))),
                graphql(ORDERS, json!({"search": "financial_status:paid", "after": "c1"}))
                    .answers(200, page("orders", json!([{"id": 2}]), None)),
            ],
            gives: Gives::Value(json!([{"id": 1}, {"id": 2}])),
        },
        Owed {
            action: "shopify/list-customers",
            props: json!({}),
            sends: vec![graphql(CUSTOMERS, Value::Null).answers(200, page("customers", json!([{"id": 1}]), None))],
            gives: Gives::Value(json!([{"id": 1}])),
        },
    ]
}
