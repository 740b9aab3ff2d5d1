//! What depends on a ledger's tables and is not the ledger's: a migration drops it with CASCADE, or fails on it.

use super::client::{Client, Value};
use super::ident::Sql;
use crate::StorageError;
use cutover_vocabulary::storage::Dependent;

/// Begins at the ledger's tables and its own view `addresses`, and follows what is built on what: a view on a view goes too.
///
/// Views hang on a rule (`pg_rewrite`), functions with a parsed body or a table's row type on the table or type itself, foreign
/// keys and triggers are rows of their own. The order is one in which they can be made again, and
/// each definition replaces what is still there: after a restore that looks at tables which were moved aside. What stood in
/// the way of a reader stands there again: a view that is replaced keeps its grants but not its options (`security_invoker`),
/// and everybody may run a function that is made anew. A function whose body is a string has no such dependency; it fails when
/// it runs.
const DEPENDENTS: &str = "WITH RECURSIVE roots AS ( \
      SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
      WHERE n.nspname = $1 AND (c.relkind IN ('r', 'p') OR (c.relkind = 'v' AND c.relname = 'addresses'))), \
    built AS ( \
      SELECT oid, relname AS root, oid AS itself, 0 AS depth FROM roots \
      UNION SELECT v.oid, b.root, b.itself, b.depth + 1 FROM built b \
        JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = b.oid AND d.classid = 'pg_rewrite'::regclass \
        JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class AND v.oid <> b.oid \
        WHERE v.oid NOT IN (SELECT oid FROM roots) AND b.depth < 32), \
    types AS (SELECT b.depth, b.root, t.oid AS type FROM built b JOIN pg_type t ON t.typrelid = b.oid \
      UNION SELECT b.depth, b.root, t.typarray FROM built b JOIN pg_type t ON t.typrelid = b.oid WHERE t.typarray <> 0) \
    SELECT what, name, owner, root, definition FROM ( \
    SELECT CASE v.relkind WHEN 'm' THEN 'materialized view' WHEN 'v' THEN 'view' ELSE 'rule on a table' END AS what, \
           format('%s.%s', n.nspname, v.relname) AS name, pg_get_userbyid(v.relowner)::text AS owner, b.root::text AS root, \
           CASE v.relkind WHEN 'm' THEN format('DROP MATERIALIZED VIEW IF EXISTS %1$I.%2$I; CREATE MATERIALIZED VIEW %1$I.%2$I%3$s AS %4$s', n.nspname, v.relname, o.options, pg_get_viewdef(v.oid)) \
                || coalesce((SELECT string_agg(E'\\n' || pg_get_indexdef(i.indexrelid) || ';', '' ORDER BY i.indexrelid) FROM pg_index i WHERE i.indrelid = v.oid), '') \
             WHEN 'v' THEN format('CREATE OR REPLACE VIEW %I.%I%s AS %s', n.nspname, v.relname, o.options, pg_get_viewdef(v.oid)) \
             ELSE (SELECT string_agg(pg_get_ruledef(r.oid), E'\\n') FROM pg_rewrite r WHERE r.ev_class = v.oid) END AS definition, \
           b.depth AS depth \
      FROM built b JOIN pg_class v ON v.oid = b.oid JOIN pg_namespace n ON n.oid = v.relnamespace \
      CROSS JOIN LATERAL (SELECT coalesce(' WITH (' || string_agg(format('%I=%L', option_name, option_value), ', ') || ')', '') AS options \
        FROM pg_options_to_table(v.reloptions)) o WHERE b.oid <> b.itself \
    UNION SELECT 'foreign key', format('%s.%s %s', n.nspname, c.relname, k.conname), pg_get_userbyid(c.relowner)::text, b.root::text, \
           format('ALTER TABLE %1$I.%2$I DROP CONSTRAINT IF EXISTS %3$I, ADD CONSTRAINT %3$I %4$s;', n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid)), b.depth \
      FROM built b JOIN pg_constraint k ON k.contype = 'f' AND k.confrelid = b.oid AND k.conparentid = 0 \
      JOIN pg_class c ON c.oid = k.conrelid AND c.oid NOT IN (SELECT oid FROM roots) JOIN pg_namespace n ON n.oid = c.relnamespace \
    UNION SELECT 'function', format('%s.%s', n.nspname, p.proname), pg_get_userbyid(p.proowner)::text, f.root::text, \
           pg_get_functiondef(p.oid) || ';' || CASE \
             WHEN EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) WHERE grantee = 0) THEN '' \
             ELSE format(E'\\nREVOKE ALL ON ROUTINE %I.%I(%s) FROM PUBLIC;', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) \
           END, f.depth + 1 \
      FROM (SELECT d.objid, b.root, b.depth FROM built b JOIN pg_depend d ON d.classid = 'pg_proc'::regclass \
              AND d.refclassid = 'pg_class'::regclass AND d.refobjid = b.oid \
            UNION SELECT d.objid, t.root, t.depth FROM types t JOIN pg_depend d ON d.classid = 'pg_proc'::regclass \
              AND d.refclassid = 'pg_type'::regclass AND d.refobjid = t.type) f \
      JOIN pg_proc p ON p.oid = f.objid AND p.prokind IN ('f', 'p') JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname <> $1 \
    UNION SELECT 'trigger', format('%s on %s.%s', g.tgname, $1, b.root), pg_get_userbyid(p.proowner)::text, b.root::text, \
           pg_get_triggerdef(g.oid) || ';', b.depth \
      FROM built b JOIN pg_trigger g ON g.tgrelid = b.oid AND NOT g.tgisinternal AND b.oid = b.itself \
      JOIN pg_proc p ON p.oid = g.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname <> $1 \
    ) found GROUP BY what, name, owner, root, definition ORDER BY max(depth), what, name, root";

/// Which tables of a schema are published, one at a time. What is dropped or moved aside leaves its publication without a word.
const PUBLISHED: &str = "SELECT format('table %I is in publication %I of role %s', c.relname, p.pubname, pg_get_userbyid(p.pubowner)) \
    FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid JOIN pg_class c ON c.oid = r.prrelid \
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 ORDER BY 1";
/// The same of schemas that are published as a whole, from PostgreSQL 15 on.
const PUBLISHED_WHOLE: &str = "SELECT format('every table is in publication %I of role %s', p.pubname, pg_get_userbyid(p.pubowner)) \
    FROM pg_publication p JOIN pg_publication_namespace r ON r.pnpubid = p.oid JOIN pg_namespace n ON n.oid = r.pnnspid \
    WHERE n.nspname = $1 ORDER BY 1";

/// What publications have of a schema, each in words. `server` is the server's major version. Changes nothing.
pub(super) fn published(client: &Client, schema: &str, server: u32) -> Result<Vec<String>, StorageError> {
    let doing = "look for publications of the tables in";
    let mut found = Vec::new();
    for sql in [Some(PUBLISHED), (server >= 15).then_some(PUBLISHED_WHOLE)].into_iter().flatten() {
        let rows = client.rows(doing, &Sql::fixed(sql), &[Value::Text(schema)])?;
        for row in &rows {
            found.push(client.get(doing, row, 0)?);
        }
    }
    Ok(found)
}

/// Finds them, from the catalogue, which everybody may read. Changes nothing.
pub(super) fn find(client: &Client, schema: &str) -> Result<Vec<Dependent>, StorageError> {
    let doing = "look for what depends on the tables in";
    let rows = client.rows(doing, &Sql::fixed(DEPENDENTS), &[Value::Text(schema)])?;
    let dependent = |row| {
        Ok(Dependent {
            what: client.get(doing, row, 0)?,
            name: client.get(doing, row, 1)?,
            owner: client.get(doing, row, 2)?,
            on: client.get(doing, row, 3)?,
            definition: client.get(doing, row, 4)?,
        })
    };
    rows.iter().map(dependent).collect()
}
