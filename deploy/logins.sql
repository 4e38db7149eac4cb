-- The login of the control plane: it may use the schema and owns nothing. For psql, as a superuser, before or after
-- `tokengrid migrate`; may be repeated. TOKENGRID_SERVICE_PASSWORD is its password, where logins need one.
\getenv password TOKENGRID_SERVICE_PASSWORD
\if :{?password}
\else
  \set password ''
\endif

-- What migrations/0008_roles.sql makes, when it comes later.
SELECT 'CREATE ROLE tokengrid_service NOLOGIN NOINHERIT'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tokengrid_service')
\gexec

SELECT 'CREATE ROLE tokengrid_control_plane LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tokengrid_control_plane')
\gexec

SELECT format('ALTER ROLE tokengrid_control_plane PASSWORD %L', :'password')
WHERE :'password' <> ''
\gexec

GRANT tokengrid_service TO tokengrid_control_plane;
