"""Configurations of nginx as distributions, images and tools leave them, by what is particular of each."""

from support.layouts import Layout

DEBIAN = """TOP
worker_processes auto;
worker_cpu_affinity auto;
events {
	worker_connections 768;
}

http {

	##
	# Basic Settings
	##
	sendfile on;
	types_hash_max_size 2048;
	# server_names_hash_bucket_size 64;
	TEMP
	include DIR/mime.types;
	default_type application/octet-stream;
	gzip on;

	include DIR/conf.d/*.conf;
	include DIR/sites-enabled/*;
}


#mail {
#}
"""
NGINX_ORG = """TOP
worker_processes  auto;

events {
    worker_connections  1024;
}


http {
    include       DIR/mime.types;
    default_type  application/octet-stream;
    TEMP
    log_format  main  '$remote_addr - $remote_user [$time_local] "$request" '
                      '$status $body_bytes_sent "$http_referer" '
                      '"$http_user_agent" "$http_x_forwarded_for"';

    sendfile        on;
    #tcp_nopush     on;
    keepalive_timeout  65;

    include DIR/conf.d/*.conf;
}
"""
MIME = "types { text/html html; text/css css; }\n"
OPENRESTY = NGINX_ORG.replace("DIR/mime", "mime").replace("include DIR/conf.d/*.conf;", "server { listen PORT1; }")
DEFAULT_SITE = """server {
	listen PORT1 default_server;
	listen [::]:PORT1 default_server;
	root DIR/www;
	index index.html index.htm index.nginx-debian.html;
	server_name _;
	location / {
		# First attempt to serve request as file, then
		# as directory, then fall back to displaying a 404.
		try_files $uri $uri/ =404;
	}
}
"""
WORDPRESS = """upstream php { server unix:DIR/run/none-php.sock; }
fastcgi_cache_path DIR/run/cache levels=1:2 keys_zone=WORDPRESS:10m inactive=60m;
map $http_cookie $skip { default 0; "~*wordpress_logged_in" 1; }
server {
    listen 127.0.0.1:PORT1;
    server_name blog.example www.blog.example;
    root DIR/www;
    index index.php;
    client_max_body_size 64m;
    location = /favicon.ico { log_not_found off; access_log off; }
    location / { try_files $uri $uri/ /index.php?$args; }
    location ~ \\.php$ {
        fastcgi_split_path_info ^(.+?\\.php)(/.*)$;
        fastcgi_cache WORDPRESS;
        fastcgi_cache_key "$scheme$request_method$host$request_uri";
        fastcgi_cache_bypass $skip;
        fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
        fastcgi_pass php;
    }
    location ~* \\.(js|css|png)$ { expires max; if ($args ~ "x{2}") { return 410; } }
    location ~ /\\.(?!well-known) { deny all; }
}
"""
INGRESS_SERVERS = "".join(
    f"""
        ## start server app{number}.example
        server {{
                server_name app{number}.example ;
                listen 127.0.0.1:PORT1 ;
                listen 127.0.0.1:PORT2 ssl http2 ;
                set $proxy_upstream_name "-";
                location ~* "^/api{number}" {{
                        set $namespace "ns{number}";
                        proxy_pass http://upstream_balancer;
                        log_by_lua_block {{
                                balancer.log()
                        }}
                }}
                location / {{ return 200 "app{number}"; }}
        }}
        ## end server app{number}.example
"""
    for number in range(60)
)
INGRESS = """# Configuration checksum: 1234567890
TOP
worker_processes 2;
worker_rlimit_nofile 1024;
worker_shutdown_timeout 240s ;
events { multi_accept on; worker_connections 1024; use epoll; }
http {
        lua_package_path "DIR/lua/?.lua;;";
        lua_shared_dict configuration_data 20M;
        init_by_lua_block {
                collectgarbage("collect")
                -- init modules
                local ok, res
                ok, res = pcall(require, "balancer")
                if not ok then
                        error("require failed: " .. tostring(res))
                else
                        balancer = res
                end
        }
        init_worker_by_lua_block { balancer.init_worker() }
        TEMP
        server_tokens off;
        CERT
        ssl_protocols TLSv1.2 TLSv1.3;
        map_hash_bucket_size 128;
        map $request_uri $loggable { default 1; }
        upstream upstream_balancer {
                server 0.0.0.1; # placeholder
                balancer_by_lua_block { balancer.balance() }
        }
        server {
                server_name _ ;
                listen 127.0.0.1:PORT1 default_server reuseport backlog=511 ;
                listen 127.0.0.1:PORT2 default_server reuseport backlog=511 ssl http2 ;
                ssl_reject_handshake off;
                location / { return 404; }
                location /healthz { access_log off; return 200; }
        }
        SERVERS
        server {
                listen 127.0.0.1:PORT3;
                keepalive_timeout 0;
                location /configuration { content_by_lua_block { ngx.say("x") } }
        }
}
"""
BALANCER = """local _M = {}
function _M.init_worker() end
function _M.balance() require("ngx.balancer").set_current_peer("127.0.0.1", 1) end
function _M.log() ngx.ctx.done = true end
return _M
"""
SITES = """server { listen PORT1; server_name a.example; location / { return 200; } }
"""


def one_text(servers: str) -> str:
    return f"TOP\nevents {{ }}\nhttp {{\n    TEMP\n    {servers}\n}}\n"


def one(servers: str) -> Layout:
    """A layout of one file."""
    return Layout({"nginx.conf": one_text(servers)})


LAYOUTS = {
    "Debian's default": Layout(
        {"nginx.conf": DEBIAN, "mime.types": MIME, "sites-available/default": DEFAULT_SITE, "conf.d/.keep": ""},
        {"sites-enabled/default": "DIR/sites-available/default"},
    ),
    "Debian, sites-enabled is a link": Layout(
        {"nginx.conf": DEBIAN, "mime.types": MIME, "sites/shop.conf": SITES, "conf.d/.keep": ""},
        {"sites-enabled": "DIR/sites"},
    ),
    "Debian, conf.d is a link": Layout(
        {"nginx.conf": DEBIAN, "mime.types": MIME, "sites-enabled/a": SITES, "shared/gzip.conf": "gzip_vary on;\n"},
        {"conf.d": "shared"},
    ),
    "nginx.conf is a link": Layout(
        {"real/app.conf": one_text(SITES)}, {"nginx.conf": "DIR/real/app.conf"}
    ),
    "nginx.org": Layout({
        "nginx.conf": NGINX_ORG, "mime.types": MIME,
        "conf.d/default.conf": DEFAULT_SITE.replace("\tlisten [::]:PORT1 default_server;\n", ""),
    }),
    "OpenResty's prefix": Layout(
        {
            "nginx/conf/nginx.conf": OPENRESTY,
            "nginx/conf/mime.types": MIME, "nginx/logs/.keep": "", "lualib/resty/x.lua": "return {}",
        },
        words=("-p", "DIR/nginx/", "-c", "conf/nginx.conf"),
    ),
    "a relative prefix": Layout(
        {"conf/nginx.conf": one_text("include sites/*.conf;\n    include vhosts/*/*.conf;"),
         "conf/sites/a.conf": SITES, "conf/vhosts/b/b.conf": SITES.replace("a.ex", "b.ex")},
        words=("-p", ".", "-c", "conf/nginx.conf"),
    ),
    "WordPress": Layout({"nginx.conf": NGINX_ORG, "mime.types": MIME, "conf.d/wordpress.conf": WORDPRESS, "www/x": ""}),
    "an ingress": Layout(
        {"nginx.conf": INGRESS.replace("SERVERS", INGRESS_SERVERS), "lua/balancer.lua": BALANCER}
    ),
    "globs in globs": Layout({
        "nginx.conf": "TOP\nevents { }\nhttp {\n  TEMP\n  include DIR/http.d/[0-9]*-*.conf;\n}\n",
        "http.d/00-base.conf": "server_tokens off;\n", "http.d/50-sites.conf": "include DIR/sites/*/server.conf;\n",
        "sites/a/server.conf": "server { listen 127.0.0.1:PORT1; include DIR/sites/a/locations/*.inc; }\n",
        "sites/a/locations/x.inc": "location /x { return 204; }\n",
    }),
    "http in a file of its own": Layout({
        "nginx.conf": "TOP\nevents { }\ninclude DIR/http.conf;\n",
        "http.conf": "http { TEMP\n include DIR/in-http.conf; }",
        "in-http.conf": SITES,
    }),
    "TLS with HTTP/2, IPv6 alone": one("server { listen [::1]:PORT1 ssl http2; server_name a.example; CERT }"),
    "IPv6 and IPv4 in one": one("server { listen [::]:PORT1 ipv6only=off; return 301 https://$host$request_uri; }"),
    "the PROXY protocol": one(
        "server { listen 127.0.0.1:PORT1 proxy_protocol; set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol; }\n"
        "    server { listen 127.0.0.1:PORT2 ssl http2 proxy_protocol; CERT location / { return 200; } }"
    ),
    "unix sockets": one(
        "server { listen unix:DIR/run/app.sock; location / { return 200; } }\n"
        "    server { listen unix:DIR/run/proxy.sock proxy_protocol; location / { return 200; } }"
    ),
    "handlers of errors": one(
        "error_page 400 401 402 403 404 405 406 408 410 411 413 414 415 416 494 495 496 497 /4xx.html;\n"
        "    error_page 500 502 503 504 = @down;\n"
        "    server { listen 127.0.0.1:PORT1 default_server; recursive_error_pages on;\n"
        "        location = /4xx.html { internal; root DIR/www; error_page 404 = @lost; }\n"
        "        location @lost { return 302 /; } location @down { proxy_pass http://127.0.0.1:PORT2; } }"
    ),
    "client certificates": one(
        "server { listen 127.0.0.1:PORT1 ssl; CERT ssl_client_certificate DIR/cert.pem; ssl_verify_client on;\n"
        "        error_page 495 496 =403 /x; }"
    ),
    "a default server that closes": one(
        "server { listen 127.0.0.1:PORT1 default_server; server_name _; return 444; }\n"
        "    server { listen 127.0.0.1:PORT1; server_name a.example; location / { return 200; } }\n"
        "    server { listen 127.0.0.1:PORT2 ssl default_server; ssl_reject_handshake on; }\n"
        "    server { listen 127.0.0.1:PORT2 ssl; server_name a.example; CERT }"
    ),
    "one line": Layout({"nginx.conf": "TOP events{}http{TEMP server{listen 127.0.0.1:PORT1;return 200;}}"}),
    "CRLF": Layout({"nginx.conf": one_text(SITES).replace("\n", "\r\n")}),
    "a quoted include": Layout({
        "nginx.conf": one_text("include \"DIR/my sites/*.conf\";"), "my sites/a b.conf": SITES,
    }),
    "an include with escaped blanks": Layout({
        "nginx.conf": one_text("include DIR/my\\ sites/*.conf;"), "my sites/a b.conf": SITES,
    }),
    "a range of ports": one(
        "server { listen 127.0.0.1:PORT1-PORT1; server_name '~^(?<shop>[a-z]{2,8})\\.example$'; }"
    ),
    "HTTP/2 without TLS alone": one("server { listen 127.0.0.1:PORT1 http2; return 200; }"),
    "no line end, and comments": Layout({
        "nginx.conf": f"TOP\n# http {{\nevents {{ }} # http {{\nhttp # {{ sites\n{{ # all\n TEMP\n {SITES.strip()} }}"
    }),
    "mixed line ends": Layout({"nginx.conf": one_text(SITES).replace("{\n", "{\r\n")}),
    "conf.d in two blocks": Layout({
        "nginx.conf": one_text("include DIR/conf.d/*.conf; server { listen PORT1; include DIR/conf.d/*.conf; }"),
        "conf.d/gzip.conf": "gzip off;\n",
    }),
    "conf.d for any name": Layout({"nginx.conf": one_text("include DIR/conf.d/*;"), "conf.d/site": SITES}),
    "no conf.d": Layout({"nginx.conf": one_text("include DIR/conf.d/*.conf;\n" + SITES)}),
    "Lua of the user's in each phase": Layout({
        "nginx.conf": one_text(
            "lua_package_path 'DIR/lua/?.lua;;'; init_worker_by_lua_file DIR/lua/w.lua; map_hash_bucket_size 128;\n"
            "    rewrite_by_lua_block { ngx.exit(403) } access_by_lua_block { ngx.exit(444) }\n"
            "    header_filter_by_lua_block { } body_filter_by_lua_block { }\n"
            "    server { listen 127.0.0.1:PORT1; location / { content_by_lua_block { ngx.say(1) } } }"
        ),
        "lua/w.lua": "local x = 1\n",
    }),
    "one hook that cannot be told": one(
        "server { listen 127.0.0.1:PORT1; location / { log_by_lua_block { ngx.ctx.log() } return 200; } }"
    ),
    "everything redirected": one(
        "server { listen PORT1; server_name a.example; return 301 https://$host$request_uri; }\n"
        "    server { listen PORT2 ssl; server_name a.example www.a.example; CERT\n"
        "        if ($host = www.a.example) { return 301 https://a.example$request_uri; }\n"
        "        add_header Strict-Transport-Security 'max-age=63072000; includeSubDomains' always; }"
    ),
    "a rate limit and auth": one(
        "limit_req_zone $binary_remote_addr zone=all:1m rate=1r/m;\n    limit_req zone=all;\n    auth_basic on;\n"
        "    auth_basic_user_file DIR/none;\n    deny all;\n"
        "    server { listen 127.0.0.1:PORT1; location / { return 200; } }"
    ),
}  # fmt: skip
