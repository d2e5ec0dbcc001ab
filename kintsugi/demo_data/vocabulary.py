"""The fixed words of the demo's world: accounts, pages, campaigns, names, companies, user agents, causes.

Invariant: constants only. Dicts of this module stand inside many events as the same
object; treat them as frozen.
"""

from typing import Any

Fields = dict[str, Any]

# Accounts of the imaginary company "Ruike": scopes of wechat_openid and wecom_external_userid.
SERVICE_ACCOUNT = "wx5f3a9c1e7b2d4860"
SUBSCRIPTION_ACCOUNT = "wx8d21b7f04e6a93c5"
MINI_PROGRAM = "wx1c7e40a9d3582bf6"
CORP = "ww92d6c3f15a0b8e47"

# Why an identifier is hard to resolve. Nobody owns an identifier with one of the first four.
SHARED_TABLET = "shared tablet"
SHOP_PHONE = "shop phone"
PLACEHOLDER = "placeholder"
ROBOT = "robot"
HANDED_ON_PHONE = "handed-on phone"
SHARED_COMPUTER = "shared computer"
SECOND_ACCOUNT = "second account"
NEVER_IDENTIFIED_DEVICE = "never identified device"
UNLINKED_ACCOUNT = "unlinked account"
SHARED_BY_TWO = frozenset({HANDED_ON_PHONE, SHARED_COMPUTER})
NOBODYS = frozenset({SHARED_TABLET, SHOP_PHONE, PLACEHOLDER, ROBOT})

PLACEHOLDERS = {
    "phone": ("13800138000", "00000000000"),
    "email": ("test@test.com",),
    "anonymous_id": ("null", "undefined"),
    "user_id": ("null", "undefined"),
}

WEB_LIBRARY = {"name": "analytics.js", "version": "npm:next-1.84.3"}
SERVER_LIBRARY = {"name": "@segment/analytics-node", "version": "3.1.0"}

_BLINK = "AppleWebKit/537.36 (KHTML, like Gecko)"
_WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
DESKTOP_AGENTS = (
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_BLINK} Chrome/142.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_BLINK} Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_WEBKIT} Version/18.5 Safari/605.1.15",
)
MOBILE_AGENTS = (
    f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {_WEBKIT} Version/18.6 Mobile/15E148 "
    "Safari/604.1",
    f"Mozilla/5.0 (Linux; Android 15; V2408A) {_BLINK} Chrome/140.0.0.0 Mobile Safari/537.36",
)
WECHAT_AGENTS = (
    f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {_WEBKIT} Mobile/15E148 "
    "MicroMessenger/8.0.62(0x18003e2f) NetType/WIFI Language/zh_CN",
    f"Mozilla/5.0 (Linux; Android 15; 24129PN74C) {_BLINK} Version/4.0 Chrome/134.0.0.0 Mobile Safari/537.36 "
    "XWEB/1340129 MicroMessenger/8.0.62.2900(0x28003E3F) NetType/5G Language/zh_CN",
)
TABLET_AGENT = (
    f"Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) {_WEBKIT} Version/17.7 Mobile/15E148 Safari/604.1"
)
ROBOT_AGENTS = (
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)",
)

SITE = "https://www.ruike.example"


def _page(path: str, title: str) -> Fields:
    return {"path": path, "referrer": "", "search": "", "title": title, "url": SITE + path}


PAGES = (
    *(_page("/", "锐科工业云"),) * 4,
    *(_page("/products/edge-gateway", "边缘网关"),) * 3,
    *(_page("/products/mes", "MES 制造执行系统"),) * 3,
    *(_page("/pricing", "价格与版本"),) * 2,
    _page("/cases/automotive", "汽车零部件客户案例"),
    _page("/cases/food", "食品行业客户案例"),
    _page("/blog/oee-guide", "OEE 提升指南"),
    _page("/blog/digital-factory", "数字化工厂路线图"),
    _page("/about", "关于我们"),
    _page("/careers", "加入我们"),
)
FORM_PAGE = _page("/contact", "预约演示")
KIOSK_PAGE = _page("/expo/products", "展会产品墙")
WECHAT_PAGES = (
    _page("/h5/new-product", "新品发布"),
    _page("/h5/case-video", "客户案例视频"),
    _page("/h5/pricing", "版本对比"),
    _page("/h5/invite", "邀请有礼"),
)

CAMPAIGNS = (
    None,
    None,
    {"source": "baidu", "medium": "cpc", "name": "brand-2026", "term": "锐科 MES"},
    {"source": "baidu", "medium": "cpc", "name": "mes-generic", "term": "MES 系统"},
    {"source": "wechat", "medium": "social", "name": "official-account"},
    {"source": "zhihu", "medium": "feed", "name": "oee-guide"},
    {"source": "edm", "medium": "email", "name": "autumn-newsletter"},
)
SCENES = ("expo-booth", "product-manual", "store-poster", "employee-card", "live-stream", "package-insert")
DOWNLOADS = ("数字化工厂白皮书", "OEE 提升手册", "MES 选型指南", "边缘计算行业报告", "汽车零部件案例集")
WEBINARS = ("走进灯塔工厂", "MES 实施十问", "设备联网从 0 到 1", "质量追溯最佳实践")
FORMS = ("预约演示", "获取报价", "下载资料", "申请试用")
EMPLOYEES = ("zhang.wei", "li.na", "wang.fang", "chen.jie", "liu.yang", "zhao.min", "sun.lei", "zhou.ting")

_FREQUENT_CITIES = {"Shanghai": 5, "Beijing": 4, "Shenzhen": 4, "Guangzhou": 3, "Suzhou": 3, "Hangzhou": 3}
CITIES = (
    *(city for city, count in _FREQUENT_CITIES.items() for _ in range(count)),
    *(
        "Nanjing",
        "Wuxi",
        "Ningbo",
        "Chengdu",
        "Chongqing",
        "Wuhan",
        "Xi'an",
        "Qingdao",
        "Tianjin",
        "Dongguan",
    ),
    *("Foshan", "Changsha", "Hefei", "Xiamen"),
)
"""Cities as often as contacts come from them."""


def _latin(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs of a Chinese word and its Latin form."""
    parts = text.split()
    return tuple(zip(parts[::2], parts[1::2], strict=True))


SURNAMES = _latin(
    "王 wang 李 li 张 zhang 刘 liu 陈 chen 杨 yang 黄 huang 赵 zhao 吴 wu 周 zhou 徐 xu 孙 sun 马 ma 朱 zhu "
    "胡 hu 郭 guo 何 he 林 lin 高 gao 罗 luo 欧阳 ouyang"
)
GIVEN_NAMES = _latin(
    "伟 wei 芳 fang 娜 na 敏 min 静 jing 强 qiang 磊 lei 洋 yang 艳 yan 杰 jie 秀英 xiuying 建国 jianguo "
    "雨桐 yutong 子轩 zixuan 浩然 haoran 思远 siyuan 晓明 xiaoming 梓涵 zihan 志强 zhiqiang 海燕 haiyan "
    "国庆 guoqing 婷婷 tingting"
)
TITLES = (
    "采购经理", "生产总监", "信息化主管", "设备工程师", "总经理", "质量经理", "IT 经理", "厂长", "工艺工程师",
    "学生",
)  # fmt: skip
_STEMS = _latin(
    "恒远 hengyuan 精工 jinggong 华盛 huasheng 东方 dongfang 博睿 borui 金鼎 jinding 天成 tiancheng "
    "宏达 hongda 中联 zhonglian 新源 xinyuan 远景 yuanjing 晨光 chenguang"
)
_TRADES = _latin(
    "汽车零部件 auto 精密机械 machinery 食品 food 电子 electronics 新材料 materials 包装 packaging "
    "医疗器械 medical 纺织 textile"
)
# the top-level domain .internal is reserved: no mail can ever reach anybody, yet no "test address"
COMPANIES = tuple(
    {"id": f"{stem_latin}-{trade_latin}", "name": f"{stem}{trade}有限公司", "industry": trade,
     "domain": f"{stem_latin}-{trade_latin}.internal"}
    for stem, stem_latin in _STEMS
    for trade, trade_latin in _TRADES
)  # fmt: skip

MOBILE_PREFIXES = (
    "130",
    "131",
    "135",
    "136",
    "137",
    "139",
    "150",
    "151",
    "158",
    "159",
    "186",
    "187",
    "188",
    "189",
)
FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")


def phone_spellings(phone: str) -> tuple[str, ...]:
    """The six ways in which people and machines write a Chinese mobile number of eleven digits.

    >>> phone_spellings("13912345678")[1:5]
    ('+8613912345678', '008613912345678', '139 1234 5678', '139-1234-5678')
    """
    a, b, c = phone[:3], phone[3:7], phone[7:]
    return (phone, "+86" + phone, "0086" + phone, f"{a} {b} {c}", f"{a}-{b}-{c}", phone.translate(FULL_WIDTH))
