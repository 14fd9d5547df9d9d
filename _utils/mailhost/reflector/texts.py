"""The reflector's texts, in English and in Japanese: the same keys, with the same placeholders."""

ENGLISH = {
    "greeting": "Hello {sender},",
    "intro": "This is how your message was seen by {hostname} ({when}).",
    "overall": "Overall",
    "overall.right": "All is right: SPF, DKIM and DMARC pass.",
    "overall.own": "All that could be judged is right. SPF was not, as the message did not come from outside.",
    "overall.wrong": "Not all is right: {faults}.",
    "overall.unknown": "Not all could be found out ({faults}). Please send another message later.",
    "comma": "; ",
    "fault": "{what} is {result}",
    "fault.open": "SPF passes for every address",
    "fault.dkim": "DKIM is {result} (domain {domain}, selector {selector})",
    "fault.unsigned": "the message is not signed with DKIM",
    "fault.older": "DMARC by the older rules is {result}",
    "result": "Result: {result}",
    "unjudged": "not judged",
    "unknown": "unknown",
    "no policy": "none found",
    "detail": "({reason})",
    "spf.address": "Connecting address: {address}",
    "spf.helo": "Name in HELO: {helo}",
    "spf.domain": "Domain of the sender: {domain}",
    "spf.fail": "The SPF record of {domain} forbids this address. Add it to the record, or send through a host of the "
    "record.",
    "spf.softfail": "The SPF record of {domain} has doubts about this address (~all). Add it to the record, or send "
    "through a host of the record.",
    "spf.neutral": "The SPF record of {domain} says nothing about this address. Add it, and end the record with -all.",
    "spf.none": "{domain} has no SPF record. Publish one that names the addresses its mail leaves from: a TXT record "
    "at {domain}, v=spf1 ip4:... -all",
    "spf.open": "The SPF record of {domain} allows every address (+all, or so): anybody can send in its name. End it "
    "with -all.",
    "spf.permerror": "The SPF record of {domain} cannot be used, so receivers ignore or refuse it. Put it right.",
    "spf.temperror": "DNS gave no answer. Look at the name servers of {domain}, and of what its record includes.",
    "spf.unjudged.login": "You sent this by a login at {hostname} itself, so the address is your mail program's, and "
    "SPF says nothing about it. What others see of this host's mail, a reflector elsewhere can tell.",
    "spf.unjudged.network": "The message comes from {hostname} itself or from a network that it trusts, and SPF says "
    "nothing about such an address. What others see of this host's mail, a reflector elsewhere can tell.",
    "dkim.domain": "Signing domain: {domain}",
    "dkim.selector": "Selector: {selector}",
    "dkim.none": "The message has no DKIM signature. Let the host that sends it sign for {domain}, and publish the "
    "key.",
    "dkim.fail": "The signature does not hold: its key is not in DNS, or the message was changed after it was signed.",
    "dkim.neutral": "The signature cannot be read, so it does not count.",
    "dkim.temperror": "DNS gave no answer. Look at the name servers of {domain}.",
    "dkim.left_out": "Signatures that were not verified, as there are too many: {count}",
    "dmarc.author": "Domain in From: {author}",
    "dmarc.domain": "Record of: {domain}",
    "dmarc.policy": "Policy: {policy}",
    "dmarc.fail": "Neither SPF nor DKIM passes for {author} or a domain that belongs with it. Sign with DKIM for "
    "{author}, or use it as the sender of the envelope, too.",
    "dmarc.none": "{author} has no DMARC record. Publish one: a TXT record at _dmarc.{author}, v=DMARC1; p=none; "
    "rua=mailto:...",
    "dmarc.permerror": "There is no judgement: the record, or From, is not as it must be.",
    "dmarc.temperror": "DNS gave no answer. Look at the name servers of {author}.",
    "dmarc.older": "Result by the older rules (RFC 7489 with the public suffix list), as many receivers still judge: "
    "{result}",
    "end": "A program wrote this, and nobody reads answers to it.",
}

JAPANESE = {
    "greeting": "{sender} 様",
    "intro": "お送りいただいたメールを {hostname} が受信し、検証しました({when})。",
    "overall": "総合判定",
    "overall.right": "問題ありません。SPF、DKIM、DMARC のすべてに合格しています。",
    "overall.own": "判定できた項目はすべて合格です。SPF は、外部から届いたメールではないため判定していません。",
    "overall.wrong": "問題があります。{faults}。",
    "overall.unknown": "一部の項目を確認できませんでした({faults})。しばらくしてから、もう一度お送りください。",
    "comma": "、",
    "fault": "{what} の結果は {result} です",
    "fault.open": "SPF がすべてのアドレスを許可しています",
    "fault.dkim": "DKIM の結果は {result} です(署名ドメイン {domain}、セレクタ {selector})",
    "fault.unsigned": "DKIM 署名がありません",
    "fault.older": "従来の規則による DMARC の結果は {result} です",
    "result": "結果: {result}",
    "unjudged": "判定対象外",
    "unknown": "不明",
    "no policy": "見つかりません",
    "detail": "(詳細: {reason})",
    "spf.address": "接続元の IP アドレス: {address}",
    "spf.helo": "HELO の名前: {helo}",
    "spf.domain": "送信者のドメイン: {domain}",
    "spf.fail": "{domain} の SPF レコードは、このアドレスからの送信を認めていません。"
    "レコードにアドレスを加えるか、レコードにあるサーバーから送信してください。",
    "spf.softfail": "{domain} の SPF レコードは、このアドレスを疑わしいものとしています(~all)。"
    "レコードにアドレスを加えるか、レコードにあるサーバーから送信してください。",
    "spf.neutral": "{domain} の SPF レコードは、このアドレスについて何も示していません。"
    "アドレスを加え、末尾を -all にしてください。",
    "spf.none": "{domain} に SPF レコードがありません。送信元のアドレスを示す TXT レコードを "
    "{domain} に公開してください: v=spf1 ip4:... -all",
    "spf.open": "{domain} の SPF レコードはすべてのアドレスを許可しているため(+all など)、誰でもこのドメインを名乗って"
    "送信できます。末尾を -all にしてください。",
    "spf.permerror": "{domain} の SPF レコードに誤りがあるため、受信側で無視または拒否されます。修正してください。",
    "spf.temperror": "DNS から応答がありませんでした。{domain} と、レコードが参照するドメインの"
    "ネームサーバーを確認してください。",
    "spf.unjudged.login": "このメールは {hostname} にログインして送信されたため、接続元はお使いの端末であり、"
    "SPF の対象になりません。このサーバーのメールが外部からどう見えるかは、外部の検証サービスでご確認ください。",
    "spf.unjudged.network": "このメールは {hostname} 自身、またはその信頼するネットワークから送信されたため、"
    "SPF の対象になりません。このサーバーのメールが外部からどう見えるかは、外部の検証サービスでご確認ください。",
    "dkim.domain": "署名ドメイン: {domain}",
    "dkim.selector": "セレクタ: {selector}",
    "dkim.none": "メールに DKIM 署名がありません。送信サーバーで {domain} の署名を付け、鍵を DNS に公開してください。",
    "dkim.fail": "署名を確認できません。鍵が DNS にないか、署名の後でメールが書き換えられています。",
    "dkim.neutral": "署名を読み取れないため、署名として扱われません。",
    "dkim.temperror": "DNS から応答がありませんでした。{domain} のネームサーバーを確認してください。",
    "dkim.left_out": "署名の数が多いため、検証しなかった署名: {count} 個",
    "dmarc.author": "From のドメイン: {author}",
    "dmarc.domain": "レコードのドメイン: {domain}",
    "dmarc.policy": "ポリシー: {policy}",
    "dmarc.fail": "SPF と DKIM のどちらも、{author} またはその組織のドメインでは合格していません。"
    "{author} の DKIM 署名を付けるか、エンベロープの送信者にも同じドメインを使ってください。",
    "dmarc.none": "{author} に DMARC レコードがありません。TXT レコードを _dmarc.{author} に公開してください: "
    "v=DMARC1; p=none; rua=mailto:...",
    "dmarc.permerror": "レコードまたは From の書き方に誤りがあるため、判定できません。",
    "dmarc.temperror": "DNS から応答がありませんでした。{author} のネームサーバーを確認してください。",
    "dmarc.older": "従来の規則(RFC 7489 と Public Suffix List)による結果: {result}。"
    "今もこの規則で判定する受信側が多くあります。",
    "end": "このメールはプログラムが自動で送信しています。返信されてもお答えできません。",
}

TEXTS = {"en": ENGLISH, "ja": JAPANESE}
