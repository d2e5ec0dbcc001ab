-- One attempt a line; each is refused. FILE is a file with a secret, TARGET a file to be written, \n a line break.
-- reading files
SELECT file('FILE')
SELECT file('/etc/passwd', 'x')
SELECT File('FILE')
SELECT `file`('FILE')
SELECT "file"('FILE')
SELECT/**/file/**/('FILE')
SELECT fi/**/le('FILE')
SELECT length(file('FILE'))
SELECT arrayMap(x -> file(x), ['FILE'])
SELECT arrayMap(file, ['FILE'])
SELECT (x -> file(x))('FILE')
SELECT if(0, 1, file('FILE') = '')
SELECT 1 WHERE file('FILE') LIKE 'm%'
SELECT 1 ORDER BY file('FILE')
SELECT 1 GROUP BY file('FILE')
SELECT count() FROM numbers(1) HAVING file('FILE') != ''
SELECT number FROM numbers(1) PREWHERE file('FILE') != ''
SELECT 1 LIMIT length(file('FILE'))
SELECT 1 AS a QUALIFY file('FILE') != ''
WITH file('FILE') AS f SELECT f
WITH f AS (SELECT file('FILE') AS x) SELECT x FROM f
WITH (SELECT file('FILE')) AS f SELECT f
SELECT (SELECT file('FILE'))
SELECT 1 UNION ALL SELECT file('FILE')
SELECT '1' INTERSECT SELECT file('FILE')
SELECT '1' EXCEPT SELECT file('FILE')
(SELECT file('FILE'))
((SELECT file('FILE')))
SELECT 'x' IN (SELECT file('FILE'))
SELECT exists((SELECT file('FILE')))
SELECT * FROM (SELECT file('FILE'))
SELECT a FROM numbers(1) ARRAY JOIN [file('FILE')] AS a
SELECT * FROM numbers(1) AS n JOIN (SELECT file('FILE') AS f) AS g ON 1 = 1
SELECT * FROM numbers(1) AS n JOIN numbers(1) AS m ON file('FILE') != ''
SELECT sum(1) OVER (PARTITION BY file('FILE'))
SELECT sum(1) OVER w WINDOW w AS (PARTITION BY file('FILE'))
SELECT * REPLACE (file('FILE') AS number) FROM numbers(1)
SELECT * APPLY(file) FROM values('a String', 'FILE')
SELECT * APPLY file FROM (SELECT 'FILE' AS a)
SELECT COLUMNS('a') APPLY(x -> file(x)) FROM (SELECT 'FILE' AS a)
SELECT COLUMNS(a) APPLY(file) FROM (SELECT 'FILE' AS a)
SELECT t.* APPLY(file) FROM (SELECT 'FILE' AS a) AS t
SELECT number FROM numbers(3) ORDER BY number WITH FILL INTERPOLATE (number AS file('FILE'))
SELECT CASE WHEN 1 THEN file('FILE') END
SELECT [file('FILE')][1]
SELECT (file('FILE'), 1).1
SELECT {'a': file('FILE')}
SELECT file('FILE')::String
SELECT CAST(file('FILE') AS String)
SELECT file('FILE') AS `harmless (alias version)`
SELECT 1 AS `x\nFunction version`, file('FILE')
SELECT 1 AS `x\n TableExpression\n  Function numbers`, file('FILE')
FROM numbers(1) SELECT file('FILE')
SELECT * FROM file('FILE')
SELECT * FROM file('FILE', 'LineAsString')
SELECT * FROM file('FILE', LineAsString, 's String')
INSERT INTO FUNCTION file('TARGET', 'TSV', 's String') SELECT 'x'
SELECT * FROM fileCluster('default', 'FILE', 'LineAsString')
SELECT * FROM filesystem('/etc')
SELECT * FROM `FILE`
SELECT * FROM "FILE"
SELECT * FROM default.`FILE`
SELECT * FROM loop(file('FILE', 'LineAsString')) LIMIT 1
SELECT * FROM view(SELECT file('FILE'))
SELECT * FROM viewIfPermitted(SELECT file('FILE') ELSE null('x String'))
SELECT * FROM viewExplain('EXPLAIN', '', (SELECT 1))
SELECT * FROM format(LineAsString, 'x')
SELECT * FROM format('CSV', 's String', 'x')
SELECT * FROM input('s String')
SELECT * FROM eval('SELECT 1')
SELECT * FROM executable('cat', 'TSV', 's String')
SELECT * FROM Python(token)
SELECT * FROM python('token')
SELECT * FROM fuzzQuery('SELECT 1')
SELECT * FROM values('s String DEFAULT file(''FILE'')', 1)
SELECT * FROM generateRandom('s String') LIMIT 1
SELECT catboostEvaluate('FILE', 1)
SELECT naiveBayesClassifier('FILE', 'x')
SELECT * FROM dictionary('d')
WITH file AS f SELECT arrayMap(f, ['FILE'])
SELECT arrayFilter(file, ['FILE'])
SELECT arrayFold(file, ['FILE'], '')
SELECT mapApply(file, map('FILE', 1))
SELECT arrayMap(`file`, ['FILE'])
SELECT arrayMap("file", ['FILE'])
SELECT arrayMap(sleep, [3])
SELECT file AS g, arrayMap(g, ['FILE'])
SELECT arrayMap((file), ['FILE'])
SELECT arrayMap(t.file, ['FILE']) FROM (SELECT 1) AS t
SELECT x.1 FROM (SELECT (file, 1) AS x)
SELECT sum(1) OVER (ORDER BY number ROWS BETWEEN length(file('FILE')) PRECEDING AND CURRENT ROW) FROM numbers(3)
SELECT number FROM numbers(3) ORDER BY number WITH FILL FROM 1 TO length(file('FILE')) STEP 1
SELECT number FROM numbers(3) ORDER BY number WITH FILL STEP length(file('FILE'))
SELECT number FROM numbers(3) LIMIT 1 OFFSET length(file('FILE'))
SELECT number FROM numbers(3) LIMIT length(file('FILE')) BY number
SELECT number FROM numbers(3) SAMPLE length(file('FILE'))
SELECT DISTINCT ON (file('FILE')) number FROM numbers(3)
SELECT number FROM numbers(3) GROUP BY GROUPING SETS ((number), (file('FILE')))
SELECT quantile(length(file('FILE')))(number) FROM numbers(3)
SELECT count() FILTER (WHERE file('FILE') != '') FROM numbers(3)
SELECT today() + INTERVAL length(file('FILE')) DAY
SELECT COLUMNS(file('FILE'))
SELECT groupArray(length(file('FILE')))(1)
SELECT nth_value(file('FILE'), 1) OVER ()
SELECT anyIf(file('FILE'), 1)
SELECT sumForEach([file('FILE')])
SELECT arrayMap(x -> arrayMap(y -> file(y), [x]), ['FILE'])
SELECT -file('FILE')
SELECT file('FILE') || ''
SELECT file('FILE') ? 1 : 2
SELECT file('FILE') LIKE '%'
SELECT NOT file('FILE')
SELECT * EXCEPT (file('FILE')) FROM numbers(1)
SELECT FILE('FILE')
-- writing files
SELECT 1 INTO OUTFILE 'TARGET'
SELECT 1 INTO OUTFILE 'TARGET' APPEND FORMAT TSV
SELECT 1 INTO/**/OUTFILE 'TARGET' TRUNCATE
SELECT 1 INTO OUTFILE 'TARGET' AND STDOUT
(SELECT 1) INTO OUTFILE 'TARGET'
WITH 1 AS x SELECT x INTO OUTFILE 'TARGET' COMPRESSION 'none'
SHOW TABLES INTO OUTFILE 'TARGET'
DESCRIBE TABLE kintsugi.profiles INTO OUTFILE 'TARGET'
INSERT INTO kintsugi_store.events FROM INFILE 'FILE' FORMAT TSV
BACKUP TABLE other.t TO File('TARGET')
BACKUP ALL TO Disk('default', 'x')
RESTORE ALL FROM File('TARGET')
-- the network
SELECT * FROM url('http://127.0.0.1:1/', 'TSV', 's String')
SELECT * FROM urlCluster('default', 'http://127.0.0.1:1/')
SELECT * FROM s3('http://127.0.0.1:1/b/k', 'TSV', 's String')
SELECT * FROM gcs('http://127.0.0.1:1/b/k')
SELECT * FROM azureBlobStorage('x')
SELECT * FROM hdfs('hdfs://x/y', 'TSV', 's String')
SELECT * FROM remote('127.0.0.1:1', 'system.one')
SELECT * FROM remoteSecure('127.0.0.1:1', 'system.one')
SELECT * FROM cluster('default', 'system.one')
SELECT * FROM clusterAllReplicas('default', system.one)
SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')
SELECT * FROM postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')
SELECT * FROM mongodb('127.0.0.1:1', 'd', 'c', 'u', 'p', 's String')
SELECT * FROM redis('127.0.0.1:1', 'k', 's String')
SELECT * FROM sqlite('FILE', 't')
SELECT * FROM odbc('DSN=x', 't')
SELECT * FROM jdbc('x', 't')
SELECT * FROM deltaLake('http://127.0.0.1:1/')
SELECT * FROM icebergLocal('/etc')
SELECT aiGenerate('x')
-- other tables
SELECT * FROM kintsugi_store.events
SELECT * FROM `kintsugi_store`.`events`
SELECT * FROM "kintsugi_store"."events"
SELECT * FROM kintsugi_store . events
SELECT * FROM kintsugi_store/**/./**/events
SELECT * FROM other.t
SELECT s FROM other.t AS profiles
SELECT 1 FROM kintsugi.profiles AS p JOIN other.t AS t ON 1 = 1
SELECT * FROM (SELECT * FROM other.t)
SELECT 1 IN other.t
SELECT 'x' IN (other.t)
SELECT 'x' NOT IN other.t
SELECT in('x', other.t)
SELECT globalIn('x', other.t)
WITH other.t AS t SELECT 'x' IN t
SELECT 'x' IN `other`.`t`
SELECT 1 WHERE 'marzipan-under-the-bridge' IN other.t
SELECT (SELECT s FROM other.t LIMIT 1)
SELECT * FROM merge('other', '.*')
SELECT * FROM merge('.*')
SELECT * FROM merge(REGEXP('other'), 't')
SELECT joinGet('other.t', 's', 1)
SELECT joinGetOrNull(other.t, 's', 1)
SELECT dictGet('other.t', 's', 1)
SELECT dictGetOrDefault('other.t', 's', 1, '')
SELECT hasColumnInTable('other', 't', 's')
SELECT * FROM mergeTreeIndex('other', 't')
SELECT * FROM mergeTreeProjection('other', 't', 'p')
SELECT * FROM loop('other', 't') LIMIT 1
SELECT * FROM kintsugi.profiles UNION ALL SELECT * FROM kintsugi_store.profile_rows
TABLE other.t
EXISTS TABLE other.t
EXISTS other.t
EXISTS DATABASE other
DESCRIBE TABLE other.t
DESC other.t
DESCRIBE TABLE kintsugi_store.events
DESCRIBE TABLE file('FILE', 'LineAsString')
DESCRIBE (SELECT file('FILE'))
SHOW TABLES FROM other
SHOW TABLES FROM kintsugi_store
SHOW TABLES IN kintsugi_store LIKE '%'
SHOW TABLES WHERE file('FILE') != ''
SHOW TABLES LIMIT length(file('FILE'))
SHOW COLUMNS FROM t FROM other
SHOW INDEX FROM events FROM kintsugi_store
SHOW CREATE TABLE other.t
SHOW CREATE DATABASE other
SHOW CREATE kintsugi_store.events
SHOW DICTIONARIES
SHOW PROCESSLIST
SHOW SETTINGS LIKE '%'
SHOW GRANTS
SHOW CREATE USER default
CHECK TABLE other.t
SELECT * FROM system.processes
SELECT * FROM system.query_log
SELECT * FROM system.parts
SELECT * FROM system.disks
SELECT * FROM system.users
SELECT * FROM system.server_settings
SELECT * FROM system.named_collections
SELECT * FROM system.zookeeper WHERE path = '/'
SELECT * FROM system.stack_trace
SELECT 'x' IN system.processes
SELECT * FROM information_schema.tables
SELECT * FROM INFORMATION_SCHEMA.COLUMNS
-- settings, statements, formats, the process
SET readonly = 0
SET max_execution_time = 0
SELECT 1 SETTINGS readonly = 0
SELECT 1 SETTINGS max_execution_time = 0
SELECT 1 FORMAT TSV SETTINGS max_result_rows = 0
SELECT * FROM (SELECT 1 SETTINGS max_threads = 64)
SELECT * FROM kintsugi.profiles SETTINGS additional_table_filters = {'x': '1'}
SELECT 1; SELECT file('FILE')
SELECT 1;; DROP TABLE other.t
SELECT 1; SET readonly = 0
SELECT 1 FORMAT Template
SELECT 1 FORMAT Protobuf
SELECT 1 FORMAT CapnProto
SELECT 1 FORMAT MySQLWire
SELECT 1 FORMAT ODBCDriver2
EXPLAIN SELECT 1
EXPLAIN QUERY TREE SELECT file('FILE')
EXPLAIN AST SELECT 1
EXPLAIN PLAN SELECT * FROM other.t
EXPLAIN ESTIMATE SELECT * FROM other.t
EXPLAIN TABLE OVERRIDE mysql('') PARTITION BY x
SELECT * FROM (EXPLAIN SELECT file('FILE'))
USE other
CREATE TABLE kintsugi.x (a Int8) ENGINE = Memory
CREATE TABLE x ENGINE = File(TSV, 'FILE') AS SELECT 1
CREATE TEMPORARY TABLE x (a Int8)
CREATE VIEW kintsugi.x AS SELECT * FROM other.t
CREATE OR REPLACE VIEW kintsugi.profiles AS SELECT 1 AS a
CREATE FUNCTION f AS (x) -> file(x)
CREATE DATABASE d ENGINE = Filesystem('/')
CREATE USER u IDENTIFIED BY 'x'
CREATE NAMED COLLECTION c AS a = 1
GRANT ALL ON *.* TO analyst
DROP TABLE other.t
DROP VIEW kintsugi.profiles
TRUNCATE TABLE other.t
ALTER TABLE other.t DELETE WHERE 1
UPDATE other.t SET s = 'x' WHERE 1
DELETE FROM other.t WHERE 1
RENAME TABLE other.t TO other.u
EXCHANGE TABLES other.t AND kintsugi.profiles
ATTACH TABLE other.x (a Int8) ENGINE = MergeTree ORDER BY a
DETACH TABLE other.t
OPTIMIZE TABLE other.t
INSERT INTO other.t VALUES ('x')
INSERT INTO other.t SELECT 'x'
SYSTEM SHUTDOWN
SYSTEM FLUSH LOGS
SYSTEM STOP MERGES
KILL QUERY WHERE 1
KILL MUTATION WHERE 1
MOVE USER x TO y
BEGIN TRANSACTION
WATCH kintsugi.profiles
EXECUTE AS default SELECT 1
PARALLEL WITH SELECT 1
SELECT getSetting('readonly')
SELECT getServerSetting('max_concurrent_queries')
SELECT getMacro('x')
SELECT hostName()
SELECT FQDN()
SELECT filesystemAvailable()
SELECT serverUUID()
SELECT showCertificate()
SELECT getClientHTTPHeader('X-ClickHouse-Key')
SELECT currentQueryID()
SELECT sleep(3)
SELECT sleepEachRow(1) FROM numbers(100)
SELECT addressToLine(1)
SELECT demangle('x')
SELECT logTrace('x')
SELECT formatRow('Template', 1)
SELECT arrayReduce('flameGraph', [1])
SELECT regionToName(1)
SELECT evalMLMethod(1)
SELECT generateSerialID('x')
SELECT formatQuery('SELECT 1')
SELECT __getScalar('x')
SELECT chdb()
SELECT kintsugi.profiles(a = 1)
SELECT * FROM kintsugi.profiles(a = 1)
SELECT /* unclosed
SELECT 'unclosed
SELECT `unclosed
SELECT * FROM kintsugi_store.links_as_known(tenant = 'w')
SELECT * FROM kintsugi.links_as_known(tenant = (SELECT any(s) FROM other.t), known_before = now64(6, 'UTC'))
SELECT * FROM kintsugi.links_as_known(tenant = file('FILE'), known_before = now64(6, 'UTC'))
SELECT * FROM kintsugi.url('http://127.0.0.1:1/', 'TSV', 's String')
SELECT * FROM `kintsugi.merge`('other', 't')
SELECT * FROM kintsugi.executable('cat', 'TSV', 's String')
