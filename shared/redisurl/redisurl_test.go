package redisurl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestParse_EachForm(t *testing.T) {
	for url, want := range map[string]target{
		"redis://127.0.0.1:6379":                {single: &redis.Options{Addr: "127.0.0.1:6379"}},
		"redis://u:p%2Fw@h/2":                   {single: &redis.Options{Addr: "h:6379", Username: "u", Password: "p/w", DB: 2}},
		"unix://u:p@/run/redis.sock":            {single: &redis.Options{Addr: "/run/redis.sock", Username: "u", Password: "p"}},
		"redis://s:1/?master_name=m&addr=s2:2":  {sentinel: &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"s:1", "s2:2"}}},
		"redis+sentinel://s:1/?master_name=m":   {sentinel: &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"s:1"}}},
		"redis+sentinel://s?master_name=m&db=1": {sentinel: &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"s:6379"}, DB: 1}},
		"redis+sentinel://su:sp@s:1?master_name=m&username=u&password=p@w": {sentinel: &redis.FailoverOptions{
			MasterName: "m", SentinelAddrs: []string{"s:1"}, SentinelUsername: "su", SentinelPassword: "sp", Username: "u", Password: "p@w",
		}},
		"redis://a:1?addr=b:2&addr=c:3": {cluster: &redis.ClusterOptions{Addrs: []string{"a:1", "b:2", "c:3"}}},
		"redis+cluster://u:p@a:1":       {cluster: &redis.ClusterOptions{Addrs: []string{"a:1"}, Username: "u", Password: "p"}},
	} {
		t.Run(url, func(t *testing.T) {
			got, err := parse(url, Options{Name: "test"})
			if err != nil {
				t.Fatal(err)
			}
			if !same(got, &want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// same compares the options of two URLs.
func same(a, b *target) bool {
	switch {
	case b.single != nil:
		return a.single != nil && a.single.Addr == b.single.Addr && a.single.DB == b.single.DB &&
			a.single.Username == b.single.Username && a.single.Password == b.single.Password
	case b.sentinel != nil:
		x, y := a.sentinel, b.sentinel
		return x != nil && x.MasterName == y.MasterName && strings.Join(x.SentinelAddrs, ",") == strings.Join(y.SentinelAddrs, ",") &&
			x.SentinelUsername == y.SentinelUsername && x.SentinelPassword == y.SentinelPassword &&
			x.Username == y.Username && x.Password == y.Password && x.DB == y.DB
	default:
		x, y := a.cluster, b.cluster
		return x != nil && strings.Join(x.Addrs, ",") == strings.Join(y.Addrs, ",") && x.Username == y.Username && x.Password == y.Password
	}
}

// TestParse_TLSServerNamePerNode: with one name for all nodes, only the first node's certificate would match.
func TestParse_TLSServerNamePerNode(t *testing.T) {
	for _, url := range []string{"rediss+cluster://a:1", "rediss+sentinel://a:1?master_name=m", "rediss://a:1?addr=b:2"} {
		got, err := parse(url, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if secure, _, _ := got.parts(); *secure == nil || (*secure).ServerName != "" {
			t.Errorf("%s: got %+v, want no server name", url, *secure)
		}
	}
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestParse_NamesErrors(t *testing.T) {
	for _, c := range []struct {
		url, want string
		o         Options
	}{
		{url: "", want: "want redis://"},
		{url: "localhost:6379", want: "want redis://"},
		{url: "127.0.0.1:6379", want: "want redis://"},
		{url: "redis:6379", want: "want redis://"},
		{url: "http://localhost", want: "want redis://"},
		{url: "redis+sentinels://localhost", want: "want redis://"},
		{url: "unix+cluster:///run/redis.sock", want: "want redis://"},
		{url: "unix://", want: "empty unix socket path"},
		{url: "redis://h/x", want: `invalid database number: "x"`},
		{url: "redis://h?readtimeout=1", want: "unexpected option: readtimeout"},
		{url: "redis://h?read_timeout=1s", want: "read_timeout must not be in the URL"},
		{url: "redis+sentinel://h", want: "?master_name="},
		{url: "redis+sentinel://h?master_name=m&route_randomly=true", want: "for a Cluster"},
		{url: "redis+sentinel://h?master_name=m&addr=h2", want: "addr"},
		{url: "redis+cluster://h/1", want: "only database 0"},
		{url: "redis://user@h", want: "without a password"},
		{url: "redis://user:secret@h", o: Options{PasswordFile: file(t, "x")}, want: "remove it from the URL"},
		{url: "redis://h", o: Options{PasswordFile: "absent"}, want: "--redis-password-file: open absent"},
		{url: "redis://h", o: Options{PasswordFile: file(t, "\n")}, want: "want the password and nothing else"},
		{url: "redis://h", o: Options{PasswordFile: file(t, "a\nb\n")}, want: "want the password and nothing else"},
		{url: "redis://h", o: Options{CA: file(t, "")}, want: "want rediss://"},
		{url: "rediss://h", o: Options{CA: "absent"}, want: "--redis-ca: open absent"},
		{url: "rediss://h", o: Options{CA: file(t, "no")}, want: "no certificate in PEM"},
		{url: "rediss://h", o: Options{Cert: file(t, "no")}, want: "one of them is missing"},
		{url: "rediss://h", o: Options{Cert: file(t, "no"), Key: file(t, "no")}, want: "--redis-cert, --redis-key: "},
	} {
		t.Run(c.url, func(t *testing.T) {
			err := Check(c.url, c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// TestParse_ErrorsOmitPassword: whichever of its characters are unescaped.
func TestParse_ErrorsOmitPassword(t *testing.T) {
	for _, url := range []string{
		"redis://u:hush/hush@h:6379", "redis://u:hush?hush@h:6379", "redis://u:hush#hush@h:6379", "redis://u:hush%hush@h:6379",
		"redis://u:1/hush@h:6379", "redis://u:1?hush@h", "redis://u:x@hush/hush@h", "redis://u:hush\x7f@h", "redis://u:hush hush@h:port",
		"redis://u:hush@h:port", "redis://u:hush@h/x", "redis://u:hush@h?nonsense=1", "redis://u:hush@h?addr=x", "u:hush@h:6379",
		"u:hush@h", "http://u:hush@h", "redis+sentinel://u:hush@h", "redis+cluster://u:hush@h/1", "redis://u:x@hush?x=y&hush@h",
		"redis://h?master_name=m&username=u&password=x&hush", "redis://h?master_name=m&username=u&password=x#hush",
		"redis://h?master_name=m&username=u&password=hush%zz", "redis://h?master_name=m&password=hush&protocol=hush",
		"redis://hush@h", "redis://h?master_name=m&username=hush",
	} {
		err := Check(url, Options{})
		if err == nil {
			t.Errorf("%q: got no error, want one", url)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: got %v, want an error without the password", url, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"redis://u:p@h:1/0", "redis+sentinel://h?master_name=m", "redis+cluster://h?addr=a:1", "unix:///s", "redis://h?password=%zz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, url string) {
		client, err := Open(url, Options{})
		if err == nil {
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
