-- A login that reads one workspace alone; run as an administrator, with your names and password.
-- A table with no policy that matches would be open to everybody who may read it, so the policy is on all of them.
CREATE USER analyst_demo IDENTIFIED BY 'choose-one' SETTINGS PROFILE 'analyst';
GRANT SELECT, SHOW ON kintsugi.* TO analyst_demo;
GRANT SELECT ON kintsugi_store.* TO analyst_demo;
CREATE ROW POLICY demo_alone ON kintsugi_store.* FOR SELECT USING workspace = 'demo' TO analyst_demo;
